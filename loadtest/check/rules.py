"""One small function an invariant: the answer `op`, against what was `Seen` of its session.

None means that the rule does not apply, HELD that it holds, a witness that it is broken.
RULES, at the end, says for which kinds of request each is asked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

from loadtest.check.op import RAISES, SHOWS, Invariant, Kind, Lifetimes, Op, Outcome, ended_sessions
from loadtest.check.tally import HELD, Finding, Witness


@dataclass(slots=True)
class Listing:
    """What a list of a user's devices may and must contain."""

    must: frozenset[str]  # refs of sessions that were alive all the time
    over: frozenset[str]  # refs of sessions that were over before
    known: frozenset[str]  # all refs of this user that earlier lists gave to one of his sessions
    own: str | None  # the ref of the session that asks
    least: int  # sessions that were alive all the time
    most: int  # sessions that may have been alive
    new: int  # of these, those whose ref no list has told yet


@dataclass(slots=True)
class Seen:
    """What had been learnt of a session when a request began, and while it ran."""

    lifetimes: Lifetimes
    login: Op | None = None
    newest_ack: Op | None = None  # of the raises acknowledged before it began, the highest
    newest_read: Op | None = None  # of the reads answered before it began, the highest
    # Of the answers before it began, the first with the highest version.
    newest_version: Op | None = None
    wrote: int = 0  # the latest moment at which a raise acknowledged before it began was sent
    used: int = 0  # the latest moment at which a request answered before it began was sent
    touched: int | None = None  # when the last request before it ended; none: one was in flight
    ended_by: Op | None = None  # what had ended the session before it began
    ending: bool = False  # another request that may end the session began before it returned
    deleted_by: Op | None = None  # what had deleted the field before it began
    deleting: bool = False  # a delete of the field began before it returned
    rewritten: bool = False  # a raise of the field may have come after that delete
    acked_before: int = 0
    unknown_before: int = 0
    attempted: int = 0  # raises begun before it returned
    sent_before: int = 0  # requests for raises not acknowledged yet, sent before it began
    quiet: bool = True  # no such request was in flight at any time while it ran
    same_position: Op | None = None  # a raise acknowledged with the same count
    same_operation: Op | None = None  # the first acknowledgement of the same raise
    same_cookie: Op | None = None  # the first request that was given the same cookie
    written: int | None = None  # the position of the value that this answer holds
    listing: Listing | None = None


Rule = Callable[[Op, Seen], Finding]
# What an answer could have been.
OWN_COOKIE = "no cookie, or a new one of the same session"
NEW_COOKIE = "a cookie nobody had before"
WRITTEN = "a value that was written to it"
ABSENT = "absent"
NOT_LOGGED_IN = "not logged in"
ONE_ORDER = "one order of all requests that explains each answer"


def identity(op: Op, _: Seen) -> Finding:
    """An answer names the user who logged in with this cookie."""
    if op.seen is None or op.outcome is not Outcome.OK:
        return None
    return HELD if op.seen == op.user else Witness((op,), op.user)


def own_cookie(op: Op, seen: Seen) -> Finding:
    """A cookie that an answer brings, as at a renewal, is nobody else's."""
    if op.cookie is None:
        return None
    owner = seen.same_cookie
    if owner is None or owner.session == op.session:
        return HELD
    return Witness((owner, op), OWN_COOKIE)


def read_your_writes(op: Op, seen: Seen) -> Finding:
    """A read sees at least every raise acknowledged before it began."""
    return _at_least(op, seen.newest_ack, seen)


def monotonic_reads(op: Op, seen: Seen) -> Finding:
    """A read sees at least what every earlier read saw."""
    return _at_least(op, seen.newest_read, seen)


def page_is_fresh(op: Op, seen: Seen) -> Finding:
    """The page shows at least what had been acknowledged, or read anywhere, before it was asked for."""
    return _at_least(op, higher(seen.newest_ack, seen.newest_read), seen)


def nothing_vanishes(op: Op, seen: Seen) -> Finding:
    """What was written is there, however long the session rested."""
    if not _counted(op, seen) or seen.newest_ack is None:
        return None
    return HELD if op.value else Witness((seen.newest_ack, op), _range(seen))


def monotonic_writes(op: Op, seen: Seen) -> Finding:
    """A raise never lands below one acknowledged before it began."""
    return _at_least(op, seen.newest_ack, seen)


def writes_follow_reads(op: Op, seen: Seen) -> Finding:
    """A raise lands above everything read before it began."""
    return _at_least(op, seen.newest_read, seen, above=1)


def no_lost_update(op: Op, seen: Seen) -> Finding:
    """No two acknowledged raises were given the same count."""
    if not _counted(op, seen):
        return None
    twin = seen.same_position
    return HELD if twin is None else Witness((twin, op), _range(seen, 1))


def repeat_counts_once(op: Op, seen: Seen) -> Finding:
    """The same operation again gets the first answer again."""
    first = seen.same_operation
    if first is None or op.outcome is not Outcome.OK or op.value is None:
        return None
    return HELD if op.value == first.value else Witness((first, op), str(first.value))


def bounds(op: Op, seen: Seen) -> Finding:
    """A count is never below the raises acknowledged nor above the raises attempted."""
    if not _counted(op, seen):
        return None
    right = seen.acked_before <= value_of(op) <= seen.attempted
    return HELD if right else Witness((op,), f"{seen.acked_before} to {seen.attempted}")


def quiescent_count(op: Op, seen: Seen) -> Finding:
    """With no raise in flight the count is exact, but for raises that may have happened."""
    if not _counted(op, seen) or not seen.quiet:
        return None
    most = seen.acked_before + seen.unknown_before
    right = seen.acked_before <= value_of(op) <= most
    return HELD if right else Witness((op,), f"{seen.acked_before} to {most}")


def value_as_written(op: Op, seen: Seen) -> Finding:
    """A field holds what was written into it, type and all; so says the answer to the writer, too."""
    if op.got is None or op.outcome is not Outcome.OK:
        return None
    if op.kind is Kind.PUT:
        return HELD if op.got == op.sent else Witness((op,), op.sent or "")
    found = seen.written is not None and seen.written == op.value
    return HELD if found else Witness((op,), WRITTEN)


def version_grows(op: Op, seen: Seen) -> Finding:
    """A version is no lower than one seen before, and higher after each write."""
    before = seen.newest_version
    if op.version is None or op.outcome is not Outcome.OK or before is None:
        return None
    wrote = seen.wrote > before.returned or op.kind in RAISES
    least = (before.version or 0) + wrote
    return HELD if op.version >= least else Witness((before, op), f"{least} or higher")


def delete_is_final(op: Op, seen: Seen) -> Finding:
    """A field that was deleted and not written again is not there."""
    if op.outcome is not Outcome.OK or seen.deleted_by is None or seen.rewritten:
        return None
    absent = op.value == 0 and op.got is None
    return HELD if absent else Witness((seen.deleted_by, op), ABSENT)


def over_is_over(op: Op, seen: Seen) -> Finding:
    """Nothing sent after a session was ended is answered as logged in."""
    if seen.ended_by is None or op.kind not in ASKS or op.outcome not in ANSWERED:
        return None
    return HELD if op.outcome is Outcome.DENIED else Witness((seen.ended_by, op), NOT_LOGGED_IN)


def new_id_at_login(op: Op, seen: Seen) -> Finding:
    """A login gives a cookie nobody had before."""
    if op.outcome is not Outcome.OK:
        return None
    twin = seen.same_cookie
    return HELD if twin is None else Witness((twin, op), NEW_COOKIE)


def no_phantom_logout(op: Op, seen: Seen) -> Finding:
    """A session that nothing else has tried to end, and no timeout, is never answered as logged out."""
    if seen.ending or op.outcome not in ANSWERED or not surely_alive(op, seen):
        return None
    last = (seen.login,) if seen.login else ()
    return HELD if op.outcome is Outcome.OK else Witness((*last, op), "logged in")


def device_list(op: Op, seen: Seen) -> Finding:
    """It names all sessions of the user and no other, and calls the right one the current one."""
    listing, listed = seen.listing, op.refs
    if listed is None or op.outcome is not Outcome.OK or listing is None:
        return None
    refs = frozenset(listed)
    current = {op.ref, op.named, listing.own} - {None}
    wrong = (
        (len(refs) < len(listed), "each session once"),
        (not listing.must <= refs, f"with {' '.join(sorted(listing.must - refs))}"),
        (bool(refs & listing.over), f"without {' '.join(sorted(refs & listing.over))}"),
        (not listing.least <= len(refs) <= listing.most, f"{listing.least} to {listing.most} sessions"),
        (len(refs - listing.known) > listing.new, "sessions of this user alone"),
        (len(current) > 1, f"{listing.own or op.named} as the current one"),
        (op.ref in listing.known and op.ref != listing.own, "another one as the current one"),
        (op.ref is not None and op.ref not in refs, "one of them as the current one"),
    )  # fmt: skip
    broken = [text for is_wrong, text in wrong if is_wrong]
    return Witness((op,), ", ".join(broken)) if broken else HELD


def cookie_when_due(op: Op, seen: Seen) -> Finding:
    """The cookie comes with a login or a renewal and goes with the end of the own session, else it stays."""
    if not op.status:
        return None
    ends = op.session in ended_sessions(op)
    owner = seen.login is not None or op.kind is Kind.LOGIN
    refused = op.outcome is Outcome.DENIED and op.kind is not Kind.WRONG
    again = seen.login is not None and op.cookie == seen.login.cookie  # a renewal gives a new one
    wrong = (op.cleared and not ends) or (op.cookie and (refused or again or not owner))
    return Witness((op,), "the cookie untouched") if wrong else HELD


def logout_clears_cookie(op: Op, seen: Seen) -> Finding:
    """Whoever ends his own session loses his cookie with it."""
    if op.session not in ended_sessions(op) or op.outcome is not Outcome.OK:
        return None
    if seen.ending or not surely_alive(op, seen):
        return None
    return HELD if op.cleared else Witness((op,), "a cookie that replaces it by nothing")


def lifetime(op: Op, seen: Seen) -> Finding:
    """Both timeouts are what a new session is given, less its age: use does not move the absolute one."""
    if op.outcome is not Outcome.OK or op.idle is None or op.absolute is None:
        return None
    limits, login = (
        seen.lifetimes,
        seen.login if isfinite(seen.lifetimes.absolute_seconds) else None,
    )
    rounding = op.kind is Kind.PAGE  # it shows whole seconds
    slack = limits.slack_seconds + rounding
    most = least = limits.absolute_seconds
    if login is not None:
        most -= (op.invoked - login.returned) / 1e9
        least -= (op.returned - login.invoked) / 1e9
    moved = login is not None and not least - slack <= op.absolute <= most + slack
    positive = min(op.idle, op.absolute) + rounding > 0
    inside = positive and op.absolute <= most + slack and op.idle <= limits.idle_seconds + slack
    if inside and not moved:
        return HELD
    possible = f"absolute {least:.1f} to {most:.1f}, idle up to {limits.idle_seconds:g}"
    return Witness((login, op) if login else (op,), possible)


def idle_moves(op: Op, seen: Seen) -> Finding:
    """Every use starts the idle timeout again, but for the throttle; the absolute one ends both."""
    if op.outcome is not Outcome.OK or op.idle is None or op.absolute is None:
        return None
    limits = seen.lifetimes
    if not isfinite(limits.idle_seconds):
        return None
    least = min(limits.idle_seconds - limits.throttle_seconds, op.absolute)
    least -= limits.slack_seconds + (op.kind is Kind.PAGE)
    return HELD if op.idle >= least else Witness((op,), f"idle {least:.1f} or more")


def timeout_ends(op: Op, seen: Seen) -> Finding:
    """Nobody is logged in who has rested longer than the idle timeout, or past the absolute one."""
    if op.outcome not in ANSWERED or seen.login is None or not surely_expired(op, seen):
        return None
    held = op.outcome is Outcome.DENIED
    return HELD if held else Witness((seen.login, op), "not logged in, as a timeout has passed")


def wrong_password(op: Op, _: Seen) -> Finding:
    """Nobody gets in with a wrong password."""
    return _refused(op, "refused")


def no_stranger(op: Op, _: Seen) -> Finding:
    """Nobody is served without a cookie, or with one that was never given out."""
    return _refused(op, NOT_LOGGED_IN)


def surely_alive(op: Op, seen: Seen) -> bool:
    """Whether no timeout can have ended the session before `op` returned."""
    if seen.login is None:
        return True
    limits, idle_from = seen.lifetimes, max(seen.used, seen.login.invoked)
    absolute = limits.absolute_seconds - limits.slack_seconds
    return op.returned <= min(
        idle_from + limits.sure_seconds * 1e9, seen.login.invoked + absolute * 1e9
    )


def surely_expired(op: Op, seen: Seen) -> bool:
    """Whether a timeout has certainly passed before `op` was sent."""
    if seen.login is None:
        return False
    limits = seen.lifetimes
    idle = (limits.idle_seconds + limits.slack_seconds) * 1e9
    absolute = (limits.absolute_seconds + limits.slack_seconds) * 1e9
    rested = seen.touched is not None and op.invoked > seen.touched + idle
    return rested or op.invoked > seen.login.returned + absolute


def higher(one: Op | None, other: Op | None) -> Op | None:
    """The one with the higher count; of equals the first."""
    if one is None or other is None:
        return one or other
    return other if value_of(other) > value_of(one) else one


def value_of(op: Op) -> int:
    """The count of an answer that has one."""
    assert op.value is not None
    return op.value


def _at_least(op: Op, floor: Op | None, seen: Seen, above: int = 0) -> Finding:
    if floor is None or not _counted(op, seen):
        return None
    right = value_of(op) >= value_of(floor) + above
    return HELD if right else Witness((floor, op), _range(seen, above))


def _range(seen: Seen, above: int = 0) -> str:
    """The counts that were possible."""
    floor = higher(seen.newest_ack, seen.newest_read)
    return f"{value_of(floor) + above if floor else above} to {seen.attempted}"


def _refused(op: Op, possible: str) -> Finding:
    if op.outcome not in ANSWERED:
        return None
    return HELD if op.outcome is Outcome.DENIED else Witness((op,), possible)


def _counted(op: Op, seen: Seen) -> bool:
    """Whether this answer gives a position that counts, and for the first time."""
    sure = op.outcome is Outcome.OK and op.value is not None and seen.same_operation is None
    return sure and not seen.deleting


READS = frozenset({Kind.READ, Kind.PROBE, Kind.PAGE})  # these show the whole session
ANY = frozenset(Kind)
ASKS = ANY - {Kind.LOGIN, Kind.LOGOUT, Kind.WRONG}  # these show whether a session is alive
ANSWERED = (Outcome.OK, Outcome.DENIED)

RULES: tuple[tuple[Invariant, Rule, frozenset[Kind]], ...] = (
    (Invariant.IDENTITY, identity, READS | {Kind.STRANGER}),
    (Invariant.IDENTITY, own_cookie, ANY - {Kind.LOGIN}),
    (Invariant.READ_YOUR_WRITES, read_your_writes, SHOWS - {Kind.PAGE}),
    (Invariant.MONOTONIC_READS, monotonic_reads, SHOWS - {Kind.PAGE}),
    (Invariant.MONOTONIC_WRITES, monotonic_writes, RAISES),
    (Invariant.WRITES_FOLLOW_READS, writes_follow_reads, RAISES),
    (Invariant.NO_LOST_UPDATE, no_lost_update, RAISES),
    (Invariant.BOUNDS, bounds, RAISES | SHOWS),
    (Invariant.QUIESCENT_COUNT, quiescent_count, SHOWS),
    (Invariant.REPEAT_COUNTS_ONCE, repeat_counts_once, RAISES),
    (Invariant.PAGE_IS_FRESH, page_is_fresh, frozenset({Kind.PAGE})),
    (Invariant.VALUE_AS_WRITTEN, value_as_written, frozenset({Kind.PUT, Kind.GET})),
    (Invariant.NOTHING_VANISHES, nothing_vanishes, SHOWS),
    (Invariant.VERSION_GROWS, version_grows, RAISES | SHOWS),
    (Invariant.DELETE_IS_FINAL, delete_is_final, frozenset({Kind.GET, Kind.COUNT})),
    (Invariant.NEW_ID_AT_LOGIN, new_id_at_login, frozenset({Kind.LOGIN})),
    (Invariant.NO_PHANTOM_LOGOUT, no_phantom_logout, ASKS - {Kind.STRANGER}),
    (Invariant.DEVICE_LIST, device_list, frozenset({Kind.DEVICES})),
    (Invariant.COOKIE_WHEN_DUE, cookie_when_due, ANY),
    (Invariant.LOGOUT_CLEARS_COOKIE, logout_clears_cookie, frozenset({Kind.LOGOUT, Kind.END})),
    (Invariant.LIFETIME, lifetime, READS),
    (Invariant.IDLE_MOVES, idle_moves, READS),
    (Invariant.TIMEOUT_ENDS, timeout_ends, ASKS),
    (Invariant.WRONG_PASSWORD, wrong_password, frozenset({Kind.WRONG})),
    (Invariant.NO_STRANGER, no_stranger, frozenset({Kind.STRANGER})),
)
RULES_OF = {
    kind: tuple((invariant, rule) for invariant, rule, kinds in RULES if kind in kinds)
    for kind in Kind
}
