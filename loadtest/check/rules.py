"""One small function an invariant: the answer `op`, against what was `Seen` of its session.

None means that the rule does not apply, an empty tuple that it holds,
and a tuple of operations that they, together, break it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from loadtest.check.op import RAISES, SHOWS, Invariant, Kind, Lifetimes, Op, Outcome
from loadtest.check.tally import Finding


@dataclass(slots=True)
class Seen:
    """What had been learnt of a session when a request began, and while it ran."""

    lifetimes: Lifetimes
    newest_ack: Op | None = None  # of the raises acknowledged before it began, the highest
    newest_read: Op | None = None  # of the reads answered before it began, the highest
    first_read: Op | None = None
    ended_by: Op | None = None  # what had ended the session before it began
    ending: bool = False  # another request that may end the session began before it returned
    deleted_by: Op | None = None  # what had deleted the field before it began
    deleting: bool = False  # a delete of the field began before it returned
    rewritten: bool = False  # a raise of the field may have come after that delete
    acked_before: int = 0
    unknown_before: int = 0
    attempted: int = 0  # raises begun before it returned
    raises_begun: int = 0  # raises begun before it began
    quiet: bool = True  # no raise was in flight at any time while it ran
    same_position: Op | None = None  # a raise acknowledged with the same count
    same_cookie: Op | None = None  # a login that was given the same cookie


def identity(op: Op, _: Seen) -> Finding:
    """An answer names the user who logged in with this cookie."""
    if op.seen is None or op.outcome is not Outcome.OK:
        return None
    return () if op.seen == op.user else (op,)


def read_your_writes(op: Op, seen: Seen) -> Finding:
    """A read sees at least every raise acknowledged before it began."""
    if not _counted(op, seen, SHOWS) or seen.newest_ack is None:
        return None
    return () if _value(op) >= _value(seen.newest_ack) else (seen.newest_ack, op)


def monotonic_reads(op: Op, seen: Seen) -> Finding:
    """A read sees at least what every earlier read saw."""
    if not _counted(op, seen, SHOWS) or seen.newest_read is None:
        return None
    return () if _value(op) >= _value(seen.newest_read) else (seen.newest_read, op)


def monotonic_writes(op: Op, seen: Seen) -> Finding:
    """A raise never lands below one acknowledged before it began."""
    if not _counted(op, seen, RAISES) or seen.newest_ack is None:
        return None
    return () if _value(op) >= _value(seen.newest_ack) else (seen.newest_ack, op)


def writes_follow_reads(op: Op, seen: Seen) -> Finding:
    """A raise lands above everything read before it began."""
    if not _counted(op, seen, RAISES) or seen.newest_read is None:
        return None
    return () if _value(op) > _value(seen.newest_read) else (seen.newest_read, op)


def no_lost_update(op: Op, seen: Seen) -> Finding:
    """No two acknowledged raises were given the same count."""
    if not _counted(op, seen, RAISES):
        return None
    return () if seen.same_position is None else (seen.same_position, op)


def bounds(op: Op, seen: Seen) -> Finding:
    """A count is never below the raises acknowledged nor above the raises attempted."""
    if not _counted(op, seen, RAISES | SHOWS):
        return None
    return () if seen.acked_before <= _value(op) <= seen.attempted else (op,)


def quiescent_count(op: Op, seen: Seen) -> Finding:
    """With no raise in flight the count is exact, but for raises that may have happened."""
    if not _counted(op, seen, SHOWS) or not seen.quiet:
        return None
    most = seen.acked_before + seen.unknown_before
    return () if seen.acked_before <= _value(op) <= most else (op,)


def delete_is_final(op: Op, seen: Seen) -> Finding:
    """A field that was deleted and not written again is not there."""
    if op.kind is not Kind.GET or op.outcome is not Outcome.OK:
        return None
    if seen.deleted_by is None or seen.rewritten:
        return None
    return () if op.value == 0 else (seen.deleted_by, op)


def logout_is_final(op: Op, seen: Seen) -> Finding:
    """Nothing sent after an acknowledged logout is answered as logged in."""
    return _dead(op, seen, Kind.LOGOUT)


def end_is_final(op: Op, seen: Seen) -> Finding:
    """Nothing sent after a session was ended from another one is answered as logged in."""
    return _dead(op, seen, Kind.END)


def new_id_at_login(op: Op, seen: Seen) -> Finding:
    """A login gives a cookie nobody had before, and the one sent along is dead."""
    if op.kind is Kind.LOGIN and op.outcome is Outcome.OK:
        return () if seen.same_cookie is None else (seen.same_cookie, op)
    return _dead(op, seen, Kind.LOGIN)


def lifetime(op: Op, seen: Seen) -> Finding:
    """Both timeouts lie within their limits, and use does not move the absolute one."""
    if op.outcome is not Outcome.OK or op.idle is None or op.absolute is None:
        return None
    limits = seen.lifetimes
    inside = 0 < op.idle <= limits.idle_seconds and 0 < op.absolute <= limits.absolute_seconds
    if not inside:
        return (op,)
    first = seen.first_read
    if first is None or first.absolute is None:
        return ()
    gone = (op.invoked - first.returned) / 1e9
    return () if op.absolute <= first.absolute - gone + limits.slack_seconds else (first, op)


def no_phantom_logout(op: Op, seen: Seen) -> Finding:
    """A session that nothing else has tried to end is never answered as logged out."""
    if op.kind is Kind.LOGIN or seen.ending:
        return None
    if op.outcome not in (Outcome.OK, Outcome.DENIED):
        return None
    return () if op.outcome is Outcome.OK else (op,)


def _dead(op: Op, seen: Seen, killer: Kind) -> Finding:
    ender = seen.ended_by
    if ender is None or ender.kind is not killer or op.kind in (Kind.LOGIN, Kind.LOGOUT):
        return None
    if op.outcome not in (Outcome.OK, Outcome.DENIED):
        return None
    return () if op.outcome is Outcome.DENIED else (ender, op)


def _counted(op: Op, seen: Seen, kinds: frozenset[Kind]) -> bool:
    sure = op.outcome is Outcome.OK and op.value is not None
    return sure and op.kind in kinds and not seen.deleting


def _value(op: Op) -> int:
    assert op.value is not None
    return op.value


RULES: dict[Invariant, Callable[[Op, Seen], Finding]] = {
    Invariant.IDENTITY: identity,
    Invariant.READ_YOUR_WRITES: read_your_writes,
    Invariant.MONOTONIC_READS: monotonic_reads,
    Invariant.MONOTONIC_WRITES: monotonic_writes,
    Invariant.WRITES_FOLLOW_READS: writes_follow_reads,
    Invariant.NO_LOST_UPDATE: no_lost_update,
    Invariant.BOUNDS: bounds,
    Invariant.QUIESCENT_COUNT: quiescent_count,
    Invariant.DELETE_IS_FINAL: delete_is_final,
    Invariant.LOGOUT_IS_FINAL: logout_is_final,
    Invariant.END_IS_FINAL: end_is_final,
    Invariant.NEW_ID_AT_LOGIN: new_id_at_login,
    Invariant.LIFETIME: lifetime,
    Invariant.NO_PHANTOM_LOGOUT: no_phantom_logout,
}
