"""The online checker: holds every answer against what its session must have seen by then.

Feed it each request twice, when it is invoked and when it completes, in the order of the clock.
It knows nothing of Locust, HTTP or the application. A closed session costs next to no memory.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from loadtest.check.counter import linearizable
from loadtest.check.op import RAISES, SHOWS, Invariant, Kind, Lifetimes, Op, Outcome, ended_sessions
from loadtest.check.rules import RULES, Seen
from loadtest.check.tally import Finding, Report, Witness


@dataclass(slots=True)
class _Counter:
    """What is known about one counter of a session so far: its visits, or one field."""

    newest_ack: Op | None = None
    newest_read: Op | None = None
    acked: dict[int, Op] = field(default_factory=dict)
    acknowledged: int = 0
    unknown: int = 0
    begun: int = 0
    in_flight: int = 0
    deleting: bool = False  # a delete has begun: nothing that returns later is counted
    deleted_by: Op | None = None
    deleted_after: int = -1  # raises begun by then, if all of them had surely ended
    ops: list[Op] = field(default_factory=list)


@dataclass(slots=True)
class _Track:
    """What is known about one session so far."""

    first_read: Op | None = None
    ended_by: Op | None = None
    enders: int = 0  # requests that may end it, begun so far
    counters: dict[str | None, _Counter] = field(default_factory=dict)

    def counter(self, key: str | None) -> _Counter:
        """The counter of this field, or of the visits."""
        counter = self.counters.get(key)
        if counter is None:
            counter = self.counters[key] = _Counter()
        return counter


class Checker:
    """Judges a history while it happens."""

    def __init__(
        self,
        lifetimes: Lifetimes | None = None,
        on_violation: Callable[[Invariant, Witness], None] | None = None,
    ) -> None:
        self.report = Report()
        self._lifetimes = lifetimes or Lifetimes()
        self._on_violation = on_violation
        self._tracks: dict[str, _Track] = {}
        self._pending: dict[int, Seen] = {}
        self._cookies: dict[str, Op] = {}

    def invoke(self, op: Op) -> None:
        """Remember what had been acknowledged before this request began."""
        track = self._track(op.session)
        counter = track.counter(op.key)
        for ended in ended_sessions(op):
            self._track(ended).enders += 1
        self._pending[op.number] = Seen(
            lifetimes=self._lifetimes,
            newest_ack=counter.newest_ack,
            newest_read=counter.newest_read,
            ended_by=track.ended_by,
            deleted_by=counter.deleted_by,
            acked_before=counter.acknowledged,
            unknown_before=counter.unknown,
            raises_begun=counter.begun,
            quiet=counter.in_flight == 0,
        )
        if op.kind in RAISES:
            counter.begun += 1
            counter.in_flight += 1
        counter.deleting = counter.deleting or op.kind is Kind.DELETE

    def complete(self, op: Op) -> None:
        """Check this request's answer, then hold later ones against it."""
        track = self._track(op.session)
        counter = track.counter(op.key)
        seen = self._pending.pop(op.number)
        seen.first_read = track.first_read
        seen.ending = track.enders > (op.session in ended_sessions(op))
        seen.deleting = counter.deleting
        seen.rewritten = counter.begun != counter.deleted_after
        seen.attempted = counter.begun
        seen.quiet = seen.quiet and counter.begun == seen.raises_begun
        seen.same_position = counter.acked.get(op.value or 0)
        seen.same_cookie = self._cookies.get(op.cookie or "")
        for invariant, rule in RULES.items():
            self._note(invariant, rule(op, seen))
        if op.kind is Kind.DELETE and op.outcome is Outcome.OK and counter.deleted_by is None:
            counter.deleted_by = op
            settled = seen.quiet and not seen.unknown_before
            counter.deleted_after = seen.raises_begun if settled else -1
        self._learn(op, track, counter)

    def close(self, session: str) -> None:
        """Check the session's counters as a whole and forget its requests."""
        counters = self._track(session).counters
        for counter in counters.values():
            if counter.ops:
                self._note(Invariant.LINEARIZABLE_COUNTER, linearizable(counter.ops))
        counters.clear()

    def finish(self) -> Report:
        """Close every session that is still open and return the report."""
        for session in list(self._tracks):
            self.close(session)
        return self.report

    def _track(self, session: str) -> _Track:
        track = self._tracks.get(session)
        if track is None:
            track = self._tracks[session] = _Track()
        return track

    def _note(self, invariant: Invariant, finding: Finding) -> None:
        if self.report.note(invariant, finding) and finding and self._on_violation:
            self._on_violation(invariant, finding)

    def _learn(self, op: Op, track: _Track, counter: _Counter) -> None:
        if op.kind in RAISES:
            counter.in_flight -= 1
            counter.unknown += op.outcome is Outcome.UNKNOWN
            if op.outcome is Outcome.UNKNOWN or (op.outcome is Outcome.OK and counter.deleting):
                # It may stand behind a count that somebody saw, and its own count says nothing.
                counter.ops.append(replace(op, outcome=Outcome.UNKNOWN, value=None))
        if op.outcome is not Outcome.OK:
            return
        if op.cookie:
            self._cookies.setdefault(op.cookie, op)
        for ended in ended_sessions(op):
            other = self._track(ended)
            other.ended_by = other.ended_by or op
        if op.kind is Kind.READ and op.value is not None:
            track.first_read = track.first_read or op
        if op.value is not None and not counter.deleting:
            _learn_count(op, counter)


def _learn_count(op: Op, counter: _Counter) -> None:
    assert op.value is not None
    if op.kind in RAISES:
        counter.acknowledged += 1
        counter.acked.setdefault(op.value, op)
        counter.newest_ack = _higher(counter.newest_ack, op)
    elif op.kind in SHOWS:
        counter.newest_read = _higher(counter.newest_read, op)
    else:
        return
    counter.ops.append(op)


def _higher(one: Op | None, other: Op) -> Op:
    return other if one is None or (one.value or 0) < (other.value or 0) else one
