"""The offline checker: judges a stored history again, by other means than the online one.

    python -m loadtest.check.offline FILE

It shares only the words of operations.py with the online model. Where that one walks through
time, this one sorts each session's requests and looks backwards by bisection.
Exit codes: 0 every promise held, 10 one was broken, 13 the file holds nothing to judge.
"""

import gc
import sys
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path

from loadtest.check.history import lifetimes_of, read_header, read_ops
from loadtest.check.op import RAISES, SHOWS, Invariant, Kind, Lifetimes, Op, Outcome, ended_sessions
from loadtest.check.tally import Report, describe

FOREVER = 1 << 63
FINAL = {
    Kind.LOGOUT: Invariant.LOGOUT_IS_FINAL,
    Kind.LOGIN: Invariant.NEW_ID_AT_LOGIN,
    Kind.END: Invariant.END_IS_FINAL,
}


class Highest:
    """Answers "what was the highest count acknowledged before t?" for one kind of request."""

    def __init__(self, ops: list[Op]) -> None:
        ordered = sorted(ops, key=lambda op: op.returned)
        self._times = [op.returned for op in ordered]
        self._best = list(accumulate(ordered, _higher))

    def before(self, time: int) -> Op | None:
        """The request with the highest count among those that returned before `time`."""
        index = bisect_left(self._times, time)
        return self._best[index - 1] if index else None

    def count_before(self, time: int) -> int:
        """How many returned before `time`."""
        return bisect_left(self._times, time)


def check(ops: Iterable[Op], lifetimes: Lifetimes) -> Report:
    """Check a whole history."""
    report = Report()
    sessions: defaultdict[str, list[Op]] = defaultdict(list)
    enders: defaultdict[str, list[Op]] = defaultdict(list)
    logins: list[Op] = []
    for op in ops:
        sessions[op.session].append(op)
        for ended in ended_sessions(op):
            enders[ended].append(op)
        if op.kind is Kind.LOGIN and op.outcome is Outcome.OK:
            logins.append(op)
    _check_cookies(report, logins)
    for session, own in sessions.items():
        _check_answers(report, own, lifetimes)
        for of_one_counter in _by_counter(own):
            _check_counter(report, of_one_counter)
        _check_end(report, own, enders[session])
    return report


def _check_cookies(report: Report, logins: list[Op]) -> None:
    given: dict[str, Op] = {}
    for op in sorted(logins, key=lambda op: op.returned):
        twin = given.get(op.cookie) if op.cookie else None
        report.note(Invariant.NEW_ID_AT_LOGIN, (twin, op) if twin else ())
        if op.cookie:
            given.setdefault(op.cookie, op)


def _check_answers(report: Report, ops: list[Op], lifetimes: Lifetimes) -> None:
    answered = [op for op in ops if op.outcome is Outcome.OK]
    for op in answered:
        if op.seen is not None:
            report.note(Invariant.IDENTITY, () if op.seen == op.user else (op,))
    timed = sorted(
        (op for op in answered if op.idle is not None and op.absolute is not None),
        key=lambda op: op.returned,
    )
    reads = [op for op in timed if op.kind is Kind.READ and op.value is not None]
    for op in timed:
        earlier = reads[0] if reads and reads[0].returned < op.returned else None
        report.note(Invariant.LIFETIME, _lifetime(op, earlier, lifetimes))


def _lifetime(op: Op, first: Op | None, limits: Lifetimes) -> tuple[Op, ...]:
    idle, absolute = op.idle or 0, op.absolute or 0
    if not (0 < idle <= limits.idle_seconds and 0 < absolute <= limits.absolute_seconds):
        return (op,)
    if first is None:
        return ()
    end_now = op.invoked / 1e9 + absolute
    end_then = first.returned / 1e9 + (first.absolute or 0)
    return (first, op) if end_now > end_then + limits.slack_seconds else ()


def _by_counter(ops: list[Op]) -> Iterable[list[Op]]:
    """The requests of a session that concern one counter: its visits, or one field."""
    counters: defaultdict[str | None, list[Op]] = defaultdict(list)
    for op in ops:
        if op.kind in RAISES or op.kind in SHOWS or op.kind is Kind.DELETE:
            counters[op.key].append(op)
    return counters.values()


def _check_counter(report: Report, ops: list[Op]) -> None:
    deletes = [op for op in ops if op.kind is Kind.DELETE]
    _check_delete(report, ops, deletes)
    gone = min((op.invoked for op in deletes), default=FOREVER)
    raises = [op for op in ops if op.kind in RAISES]
    sure = [op for op in ops if op.outcome is Outcome.OK and op.value is not None]
    counted = [op for op in sure if op.returned <= gone]
    acked = [op for op in counted if op.kind in RAISES]
    reads = [op for op in counted if op.kind in SHOWS]
    # What was acknowledged after a delete had begun may stand behind a count that was seen before.
    late = [op for op in raises if op.outcome is Outcome.OK and op.returned > gone]
    unknown = [op for op in raises if op.outcome is Outcome.UNKNOWN]
    writes, seen = Highest(acked), Highest(reads)
    broken = _check_order(report, acked, reads, writes, seen)
    broken = _check_positions(report, acked) or broken
    _check_amount(report, raises, acked, reads, unknown)
    if acked or reads or unknown or late:
        gap = _unfillable(acked, reads, [*unknown, *late])
        report.note(Invariant.LINEARIZABLE_COUNTER, broken or gap)


def _check_delete(report: Report, ops: list[Op], deletes: list[Op]) -> None:
    done = [op for op in deletes if op.outcome is Outcome.OK]
    if not done:
        return
    first = min(done, key=lambda op: op.returned)
    raises = [op for op in ops if op.kind in RAISES]
    open_end = [op for op in raises if op.returned >= first.invoked]
    open_end += [op for op in raises if op.outcome is Outcome.UNKNOWN]
    rewritten = min((op.invoked for op in open_end), default=FOREVER)
    for op in ops:
        asked = op.kind is Kind.GET and op.outcome is Outcome.OK
        if asked and first.returned < op.invoked and op.returned < rewritten:
            report.note(Invariant.DELETE_IS_FINAL, () if op.value == 0 else (first, op))


def _check_order(
    report: Report, acked: list[Op], reads: list[Op], writes: Highest, seen: Highest
) -> tuple[Op, ...]:
    """The four session guarantees; returns what breaks the order in real time, if anything."""
    broken: tuple[Op, ...] = ()
    pairs = (
        (Invariant.READ_YOUR_WRITES, reads, writes, 0),
        (Invariant.MONOTONIC_READS, reads, seen, 0),
        (Invariant.MONOTONIC_WRITES, acked, writes, 0),
        (Invariant.WRITES_FOLLOW_READS, acked, seen, 1),
    )
    for invariant, ops, earlier, step in pairs:
        for op in ops:
            floor = earlier.before(op.invoked)
            if floor is not None:
                wrong = _count(op) < _count(floor) + step
                report.note(invariant, (floor, op) if wrong else ())
                broken = broken or ((floor, op) if wrong else ())
    return broken


def _check_positions(report: Report, acked: list[Op]) -> tuple[Op, ...]:
    """Every acknowledged raise has a position of its own; returns two that share one."""
    owner: dict[int, Op] = {}
    twins: tuple[Op, ...] = ()
    for op in sorted(acked, key=lambda op: op.returned):
        other = owner.setdefault(_count(op), op)
        pair = () if other is op else (other, op)
        report.note(Invariant.NO_LOST_UPDATE, pair)
        twins = twins or pair
    return twins


def _check_amount(
    report: Report, raises: list[Op], acked: list[Op], reads: list[Op], unknown: list[Op]
) -> None:
    begun = sorted(op.invoked for op in raises)
    ended = sorted(op.returned for op in raises)
    acks, lost = Highest(acked), Highest(unknown)
    for op in (*reads, *acked):
        least = acks.count_before(op.invoked)
        most = bisect_left(begun, op.returned)
        report.note(Invariant.BOUNDS, () if least <= _count(op) <= most else (op,))
    for op in reads:
        least = acks.count_before(op.invoked)
        overlapping = bisect_left(begun, op.returned) - bisect_right(ended, op.invoked)
        if not overlapping:
            most = least + lost.count_before(op.invoked)
            exact = least <= _count(op) <= most
            report.note(Invariant.QUIESCENT_COUNT, () if exact else (op,))


def _unfillable(acked: list[Op], reads: list[Op], unknown: list[Op]) -> tuple[Op, ...]:
    """An answer whose count needs more unacknowledged raises than had been sent, if any.

    Hall's condition: up to every count that was seen, the positions nobody acknowledged must
    not outnumber the unknown raises sent before it was seen. And no raise can be the zeroth.
    """
    positions = sorted(_count(op) for op in acked)
    sent = sorted(op.invoked for op in unknown)
    for op in (*acked, *reads):
        gaps = _count(op) - bisect_right(positions, _count(op))
        nowhere = _count(op) < (op.kind in RAISES)
        if nowhere or gaps > bisect_left(sent, op.returned):
            return (op,)
    return ()


def _check_end(report: Report, ops: list[Op], enders: list[Op]) -> None:
    done = sorted((op for op in enders if op.outcome is Outcome.OK), key=lambda op: op.returned)
    for op in ops:
        if op.kind is Kind.LOGIN or op.outcome not in (Outcome.OK, Outcome.DENIED):
            continue
        if not any(ender.invoked < op.returned for ender in enders if ender is not op):
            report.note(Invariant.NO_PHANTOM_LOGOUT, () if op.outcome is Outcome.OK else (op,))
        if op.kind is not Kind.LOGOUT and done and done[0].returned < op.invoked:
            alive = op.outcome is Outcome.OK
            report.note(FINAL[done[0].kind], (done[0], op) if alive else ())


def _count(op: Op) -> int:
    assert op.value is not None
    return op.value


def _higher(one: Op, other: Op) -> Op:
    return other if (other.value or 0) > (one.value or 0) else one


def main(arguments: list[str]) -> int:
    """Check the file named on the command line and print the tally of every invariant."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    path = Path(arguments[0])
    gc.disable()  # a million small objects without a cycle: looking for one takes a fifth of the time
    report = check(read_ops(path), lifetimes_of(read_header(path)))
    for invariant, tally in report.tallies.items():
        print(f"{invariant:24} {tally.checked:>9,} checked {tally.violations:>7,} broken")
        for op in tally.witness:
            print(f"    {describe(op)}")
    if report.violations:
        return 10
    return 0 if report.tallies[Invariant.NO_PHANTOM_LOGOUT].checked else 13


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
