"""The online checker: holds every answer against what its session must have seen by then.

Feed it each request twice, when it is invoked and when it completes, in the order of the clock.
It knows nothing of Locust, HTTP or the application. A closed session costs next to no memory.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from loadtest.counter import linearizable
from loadtest.operations import Invariant, Kind, Lifetimes, Op, Outcome, ended_session
from loadtest.rules import RULES, Seen
from loadtest.tally import Finding, Report, Witness


@dataclass(slots=True)
class _Track:
    """What is known about one session so far."""

    newest_ack: Op | None = None
    newest_read: Op | None = None
    first_read: Op | None = None
    ended_by: Op | None = None
    ending: bool = False
    acked: dict[int, Op] = field(default_factory=dict)
    acknowledged: int = 0
    unknown: int = 0
    begun: int = 0
    in_flight: int = 0
    counter_ops: list[Op] = field(default_factory=list)


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
        ended = ended_session(op)
        if ended is not None:
            self._track(ended).ending = True
        self._pending[op.number] = Seen(
            lifetimes=self._lifetimes,
            newest_ack=track.newest_ack,
            newest_read=track.newest_read,
            ended_by=track.ended_by,
            acked_before=track.acknowledged,
            unknown_before=track.unknown,
            visits_begun=track.begun,
            quiet=track.in_flight == 0,
        )
        if op.kind is Kind.VISIT:
            track.begun += 1
            track.in_flight += 1

    def complete(self, op: Op) -> None:
        """Check this request's answer, then hold later ones against it."""
        track = self._track(op.session)
        seen = self._pending.pop(op.number)
        seen.first_read = track.first_read
        seen.ending = track.ending
        seen.attempted = track.begun
        seen.quiet = seen.quiet and track.begun == seen.visits_begun
        seen.same_position = track.acked.get(op.value or 0)
        seen.same_cookie = self._cookies.get(op.cookie or "")
        for invariant, rule in RULES.items():
            self._note(invariant, rule(op, seen))
        self._learn(op, track)

    def close(self, session: str) -> None:
        """Check the session's counter as a whole and forget its requests."""
        track = self._track(session)
        if track.counter_ops:
            self._note(Invariant.LINEARIZABLE_COUNTER, linearizable(track.counter_ops))
        track.counter_ops.clear()
        track.acked.clear()

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

    def _learn(self, op: Op, track: _Track) -> None:
        if op.kind is Kind.VISIT:
            track.in_flight -= 1
            track.unknown += op.outcome is Outcome.UNKNOWN
            if op.outcome is Outcome.UNKNOWN:
                track.counter_ops.append(op)
        if op.outcome is not Outcome.OK:
            return
        if op.cookie:
            self._cookies.setdefault(op.cookie, op)
        ended = ended_session(op)
        if ended is not None:
            other = self._track(ended)
            other.ended_by = other.ended_by or op
        if op.value is not None:
            _learn_count(op, track)


def _learn_count(op: Op, track: _Track) -> None:
    assert op.value is not None
    if op.kind is Kind.VISIT:
        track.acknowledged += 1
        track.acked.setdefault(op.value, op)
        track.newest_ack = _higher(track.newest_ack, op)
    elif op.kind is Kind.READ:
        track.newest_read = _higher(track.newest_read, op)
        track.first_read = track.first_read or op
    else:
        return
    track.counter_ops.append(op)


def _higher(one: Op | None, other: Op) -> Op:
    return other if one is None or (one.value or 0) < (other.value or 0) else one
