"""The online checker: holds every answer against what its session must have seen by then.

Feed it each request twice, when it is invoked and when it completes, in the order of the clock.
It knows nothing of Locust, HTTP or the application. A closed session costs next to no memory.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from loadtest.check.counter import linearizable
from loadtest.check.op import (
    RAISES,
    SHOWS,
    Invariant,
    Kind,
    Lifetimes,
    Op,
    Outcome,
    ended_sessions,
    promise_of,
)
from loadtest.check.rules import RULES_OF, Listing, Seen, higher, over_is_over, surely_alive
from loadtest.check.tally import Finding, Report, Witness


@dataclass(slots=True)
class _Raise:
    """One operation on a counter, however often it was sent."""

    first: Op
    seen: Seen
    acked: Op | None = None
    in_flight: int = 0
    unknown: bool = False


@dataclass(slots=True)
class _Counter:
    """What is known about one counter of a session so far: its visits, or one field."""

    newest_ack: Op | None = None
    newest_read: Op | None = None
    acked: dict[int, Op] = field(default_factory=dict)
    acknowledged: int = 0
    unknown: int = 0
    begun: int = 0
    sent: int = 0  # requests for raises that were not acknowledged then
    in_flight: int = 0  # of these, for raises that still are not
    raises: dict[str | int, _Raise] = field(default_factory=dict)  # by operation
    written: dict[str, int] = field(default_factory=dict)  # the position of each value put
    deleting: bool = False  # a delete has begun: nothing that returns later is counted
    deleted_by: Op | None = None
    deleted_after: int = -1  # raises begun by then, if all of them had surely ended
    ops: list[Op] = field(default_factory=list)


@dataclass(slots=True)
class _Track:
    """What is known about one session so far."""

    login: Op | None = None
    ended_by: Op | None = None
    enders: int = 0  # requests that may end it, begun so far
    newest_version: Op | None = None
    wrote: int = 0
    used: int = 0
    touched: int = 0
    in_flight: int = 0
    ref: str | None = None
    # By field; the visits are that without a name.
    counters: defaultdict[str | None, _Counter] = field(
        default_factory=lambda: defaultdict(_Counter)
    )


class Checker:
    """Judges a history while it happens."""

    def __init__(
        self,
        lifetimes: Lifetimes | None = None,
        on_violation: Callable[[Invariant, Witness], None] | None = None,
    ) -> None:
        self.report = Report()
        self.lifetimes = lifetimes or Lifetimes()
        self._on_violation = on_violation
        self._tracks: defaultdict[str, _Track] = defaultdict(_Track)
        self._users: defaultdict[str, list[_Track]] = defaultdict(list)  # whose login has begun
        self._pending: dict[int, Seen] = {}
        self._listed: dict[int, tuple[list[tuple[_Track, int]], list[_Track]]] = {}
        self._cookies: dict[str, Op] = {}

    def invoke(self, op: Op) -> None:
        """Remember what had been acknowledged before this request began."""
        track = self._tracks[op.session]
        counter = track.counters[op.key]
        for ended in ended_sessions(op):
            self._tracks[ended].enders += 1
        seen = self._pending[op.number] = Seen(
            lifetimes=self.lifetimes,
            login=track.login,
            newest_ack=counter.newest_ack,
            newest_read=counter.newest_read,
            newest_version=track.newest_version,
            wrote=track.wrote,
            used=track.used,
            touched=None if track.in_flight else track.touched,
            ended_by=track.ended_by,
            deleted_by=counter.deleted_by,
            acked_before=counter.acknowledged,
            unknown_before=counter.unknown,
            sent_before=counter.sent,
            quiet=counter.in_flight == 0,
        )
        track.in_flight += 1
        if op.kind in RAISES:
            self._begin_raise(op, counter, seen)
        elif op.kind is Kind.DELETE:
            counter.deleting = True
        elif op.kind is Kind.LOGIN:
            self._users[op.user].append(track)
        elif op.kind is Kind.DEVICES:
            mine = self._users[op.user]
            alive = [(one, one.used) for one in mine if one.login and not one.enders]
            self._listed[op.number] = alive, [one for one in mine if one.ended_by]

    def complete(self, op: Op) -> None:
        """Check this request's answer, then hold later ones against it."""
        track = self._tracks[op.session]
        counter = track.counters[op.key]
        seen = self._pending.pop(op.number)
        seen.ending = track.enders > (op.session in ended_sessions(op))
        seen.deleting = counter.deleting
        seen.rewritten = counter.begun != counter.deleted_after
        seen.attempted = counter.begun
        seen.quiet = seen.quiet and counter.sent == seen.sent_before
        seen.same_cookie = self._cookies.get(op.cookie or "")
        seen.written = counter.written.get(op.got or "")
        raised = counter.raises.get(op.op or op.number) if op.kind in RAISES else None
        if raised is not None:
            seen.same_operation = raised.acked
            seen.same_position = counter.acked.get(op.value or 0)
            first = (
                raised.seen
            )  # a repetition is held against what was known when it was sent first
            seen.newest_ack, seen.newest_read = first.newest_ack, first.newest_read
            seen.acked_before = first.acked_before
        if op.number in self._listed:
            seen.listing = self._listing(op, track)
        for invariant, rule in RULES_OF[op.kind]:
            self._note(invariant, rule(op, seen))
        if seen.ended_by is not None:
            self._note(promise_of(seen.ended_by, op.session), over_is_over(op, seen))
        if op.kind is Kind.DELETE and op.outcome is Outcome.OK and counter.deleted_by is None:
            counter.deleted_by = op
            settled = seen.quiet and not seen.unknown_before
            counter.deleted_after = counter.begun if settled else -1
        self._learn(op, track)
        self._learn_count(op, track, counter, raised)

    def close(self, session: str) -> None:
        """Check the session's counters as a whole and forget its requests."""
        counters = self._tracks[session].counters
        for counter in counters.values():
            if counter.ops:
                self._note(Invariant.LINEARIZABLE_COUNTER, linearizable(counter.ops))
        counters.clear()

    def finish(self) -> Report:
        """Close every session that is still open and return the report."""
        for session in list(self._tracks):
            self.close(session)
        return self.report

    def is_foreign(self, op: Op) -> bool:
        """Whether the cookie that this answer brings was given to another session before."""
        owner = self._cookies.get(op.cookie or "")
        return owner is not None and owner.session != op.session

    def _note(self, invariant: Invariant, finding: Finding) -> None:
        if self.report.note(invariant, finding) and finding and self._on_violation:
            self._on_violation(invariant, finding)

    def _begin_raise(self, op: Op, counter: _Counter, seen: Seen) -> None:
        raised = counter.raises.get(op.op or op.number)
        if raised is None:
            raised = counter.raises[op.op or op.number] = _Raise(op, seen)
            counter.begun += 1
        if op.sent is not None:
            counter.written.setdefault(op.sent, counter.begun)
        raised.in_flight += 1
        if raised.acked is None:
            counter.sent += 1
            counter.in_flight += 1

    def _listing(self, op: Op, track: _Track) -> Listing:
        alive, over = self._listed.pop(op.number)
        mine = self._users[op.user]
        certain = [
            one
            for one, used in alive
            if not one.enders and surely_alive(op, Seen(self.lifetimes, login=one.login, used=used))
        ]
        maybe = [one for one in mine if not any(one is other for other in over)]
        return Listing(
            must=frozenset(one.ref for one in certain if one.ref),
            over=frozenset(one.ref for one in over if one.ref),
            known=frozenset(one.ref for one in mine if one.ref),
            own=track.ref,
            least=len(certain),
            most=len(maybe),
            new=sum(one.ref is None for one in maybe),
        )

    def _learn(self, op: Op, track: _Track) -> None:
        track.in_flight -= 1
        track.touched = op.returned
        if op.cookie:
            self._cookies.setdefault(op.cookie, op)
        if op.outcome is not Outcome.OK:
            return
        track.used = max(track.used, op.invoked)
        if op.kind is Kind.LOGIN:
            track.login = op
        for ended in ended_sessions(op):
            other = self._tracks[ended]
            other.ended_by = other.ended_by or op
        before = track.newest_version
        if op.version is not None and (before is None or op.version > (before.version or 0)):
            track.newest_version = op
        if op.ref and op.ref in (op.refs or ()):
            track.ref = track.ref or op.ref

    def _learn_count(self, op: Op, track: _Track, counter: _Counter, raised: _Raise | None) -> None:
        sure = op.outcome is Outcome.OK
        if raised is not None:
            op = self._end_raise(op, track, counter, raised)
        if not sure or op.value is None or counter.deleting:
            return
        if raised is not None and raised.acked is op:
            counter.acked.setdefault(op.value, op)
            counter.newest_ack = higher(counter.newest_ack, op)
        elif op.kind in SHOWS:
            counter.newest_read = higher(counter.newest_read, op)
        else:
            return
        counter.ops.append(op)

    def _end_raise(self, op: Op, track: _Track, counter: _Counter, raised: _Raise) -> Op:
        """Account for one answer to a raise; returns it as from the moment it was first sent."""
        raised.in_flight -= 1
        if raised.acked is not None:
            return op
        counter.in_flight -= 1
        if op.outcome is Outcome.OK:
            if raised.first.number != op.number:
                op = replace(op, invoked=raised.first.invoked)
            raised.acked = op
            counter.in_flight -= raised.in_flight
            counter.acknowledged += not counter.deleting
            track.wrote = max(track.wrote, op.invoked)
            self._settle(counter, raised)
            if counter.deleting:
                # It may stand behind a count that somebody saw, and its own count says nothing.
                counter.ops.append(replace(op, outcome=Outcome.UNKNOWN, value=None))
        elif op.outcome is Outcome.UNKNOWN and not raised.unknown:
            raised.unknown = True
            counter.unknown += 1
            counter.ops.append(replace(raised.first, outcome=Outcome.UNKNOWN, value=None))
        return op

    @staticmethod
    def _settle(counter: _Counter, raised: _Raise) -> None:
        """What may have happened has: a repetition was answered."""
        if raised.unknown:
            counter.unknown -= 1
            number = raised.first.number
            counter.ops = [op for op in counter.ops if op.number != number]


def replay(ops: Sequence[Op], checker: Checker) -> Iterator[Op]:
    """Feed it a stored history in the order of the clock; each request comes back once its answer is checked."""
    events = [(op.invoked, 0, op) for op in ops] + [(op.returned, 1, op) for op in ops]
    for _, answered, op in sorted(events, key=lambda event: event[:2]):
        if answered:
            checker.complete(op)
            yield op
        else:
            checker.invoke(op)
