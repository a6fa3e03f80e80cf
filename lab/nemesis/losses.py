"""What a failover may lose without a violation: taken out of the history, and counted.

With SESSION_WRITES_ACKNOWLEDGED_BY=0 an answer waits for no replica: a failover may lose what was acknowledged in the
last moments before it, and all that a master took which nobody followed any more.  With 1 it may lose nothing that
was acknowledged.  But reads wait for nobody: they may have shown a write that was never acknowledged and is lost.

A history in which exactly those writes are only "may have happened", and those reads have shown nothing, must hold
every promise: `without_losses` makes it.  An acknowledged logout is no such write: one that is undone stays a violation.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import accumulate

from lab.nemesis.phases import Phase
from loadtest.check.op import RAISES, SHOWS, Kind, Op, Outcome, ended_sessions

FOREVER = 1 << 63
WRITES = RAISES | {Kind.DELETE, Kind.SLOW}
BEFORE_NS = 1_000_000_000  # replication is no further behind


@dataclass
class Lost:
    """Acknowledged requests that a failover has undone, by fault."""

    writes: list[Op] = field(default_factory=list)
    sessions: list[Op] = field(default_factory=list)  # their logins
    shown: list[Op] = field(default_factory=list)  # reads of what was never acknowledged

    def every(self) -> list[Op]:
        return [*self.writes, *self.sessions, *self.shown]


def without_losses(
    ops: Sequence[Op], phases: Sequence[Phase], acknowledged_by: int
) -> tuple[list[Op], Lost]:
    """The history without what the failovers among `phases` may lose and have lost, and that."""
    windows = [(phase.began - BEFORE_NS, phase.whole) for phase in phases if phase.failover]
    lost, changed = Lost(), dict[int, Op]()
    gone = set() if acknowledged_by else _lost_sessions(ops, windows, lost)
    kept = list(_without_users(ops, gone))
    settle = _settle_shown if acknowledged_by else _settle
    for of_one_counter in _by_counter(kept).values():
        settle(of_one_counter, windows, lost, changed)
    doubted = {
        op.session
        for op in kept
        if op.kind in WRITES and op.outcome is Outcome.UNKNOWN and _within(op, windows)
    }
    theirs = [op for op in kept if op.session in doubted] if acknowledged_by else kept
    _settle_versions(theirs, windows, changed)
    return [changed.get(op.number, op) for op in kept], lost


def _within(op: Op, windows: Iterable[tuple[int, int]]) -> bool:
    return any(begin <= op.returned and op.invoked <= end for begin, end in windows)


def _lost_sessions(ops: Sequence[Op], windows: list[tuple[int, int]], lost: Lost) -> set[str]:
    """Users of whom a session that began in such a moment is not known any more, before anybody has tried to end it."""
    ending: dict[str, int] = {}
    for op in ops:
        for name in ended_sessions(op):
            ending[name] = min(op.invoked, ending.get(name, op.invoked))
    logins = {
        op.session: op
        for op in ops
        if op.kind is Kind.LOGIN and op.outcome is Outcome.OK and _within(op, windows)
    }
    names = {
        op.session
        for op in ops
        if op.outcome is Outcome.DENIED and op.kind is not Kind.WRONG and op.session in logins
        if op.returned < ending.get(op.session, FOREVER)
    }
    lost.sessions += [logins[name] for name in names]
    return {logins[name].user for name in names}


def _without_users(ops: Sequence[Op], gone: Set[str]) -> Iterator[Op]:
    """All that others did; and that a login of one who is gone has ended their session in the same browser, or has not."""
    owners = {op.session: op.user for op in ops}
    for op in ops:
        if op.user not in gone:
            yield op
        elif op.replaces and owners.get(op.replaces) not in gone:
            yield replace(_emptied(op, Outcome.UNKNOWN), cookie=None)


def _by_counter(ops: Iterable[Op]) -> dict[tuple[str, str | None], list[Op]]:
    found: defaultdict[tuple[str, str | None], list[Op]] = defaultdict(list)
    for op in ops:
        if op.kind in RAISES or op.kind in SHOWS or op.kind is Kind.DELETE:
            found[op.session, op.key].append(op)
    return found


class Floor:
    """The lowest figure that any request was told which was sent after a moment."""

    def __init__(self, told: Iterable[tuple[int, int]]) -> None:
        ordered = sorted(told)
        self._moments = [moment for moment, _ in ordered]
        self._lowest = list(accumulate((figure for _, figure in reversed(ordered)), min))[::-1]

    def undoes(self, op: Op, figure: int) -> bool:
        """Whether what `op` was told is not there any more for somebody who asked after its answer."""
        place = bisect_right(self._moments, op.returned)
        return place < len(self._lowest) and self._lowest[place] < figure


def _floor_of(ops: Sequence[Op]) -> Floor:
    """Of one counter.  A repeated operation is told what it was told at first, so it counts from when that was sent."""
    first: dict[str | None, int] = {}
    for op in ops:
        first[op.op] = min(op.invoked, first.get(op.op, op.invoked))
    return Floor(
        (first[op.op] if op.kind is Kind.REPEAT else op.invoked, op.value - (op.kind in RAISES))
        for op in ops
        if op.outcome is Outcome.OK and op.value is not None
    )


def _settle(
    ops: list[Op], windows: list[tuple[int, int]], lost: Lost, changed: dict[int, Op]
) -> None:
    """Where a raise was lost, all of that counter's raises in these moments may have happened, and reads show nothing.

    Two masters may have answered at the same time: which of two equal counts was lost, nobody can tell.
    """
    floor, counts = _floor_of(ops), _operations_by_count(ops)
    inside = [
        op
        for op in ops
        if op.outcome is Outcome.OK and op.value is not None and _within(op, windows)
    ]
    undone = [op for op in inside if floor.undoes(op, op.value or 0)]
    raises = [op for op in inside if op.kind in RAISES]
    twice = {op.value: op for op in raises if len(counts[op.value or 0]) > 1}
    if undone or twice:
        surely = [op for op in undone if op.kind in RAISES]
        known = {op.value for op in surely}
        lost.writes += [*surely, *(op for value, op in twice.items() if value not in known)]
        for op in inside:
            changed[op.number] = _emptied(op, Outcome.UNKNOWN if op.kind in RAISES else op.outcome)


def _operations_by_count(ops: Iterable[Op]) -> defaultdict[int, set[str | int]]:
    """The raises that were told each count."""
    found: defaultdict[int, set[str | int]] = defaultdict(set)
    for op in ops:
        if op.kind in RAISES and op.outcome is Outcome.OK and op.value is not None:
            found[op.value].add(op.op or op.number)
    return found


def _settle_shown(
    ops: list[Op], windows: list[tuple[int, int]], lost: Lost, changed: dict[int, Op]
) -> None:
    """What a read has shown and later ones have not was lost; that is allowed if nobody had acknowledged it."""
    floor = _floor_of(ops)
    sure = [
        (op.invoked, op.value)
        for op in ops
        if op.kind in RAISES and op.outcome is Outcome.OK and op.value is not None
    ]
    for op in ops:
        if op.kind not in SHOWS or op.outcome is not Outcome.OK or op.value is None:
            continue
        promised = any(begun < op.returned and value >= op.value for begun, value in sure)
        if _within(op, windows) and not promised and floor.undoes(op, op.value):
            lost.shown.append(op)
            changed[op.number] = _emptied(op, op.outcome)


def _emptied(op: Op, outcome: Outcome) -> Op:
    return replace(op, outcome=outcome, value=None, version=None, got=None)


def _settle_versions(
    ops: Sequence[Op], windows: list[tuple[int, int]], changed: dict[int, Op]
) -> None:
    """A version above one that was shown later belongs to what was lost."""
    own: defaultdict[str, list[Op]] = defaultdict(list)
    for op in ops:
        if op.outcome is Outcome.OK and (op.version is not None or op.kind in RAISES):
            own[op.session].append(op)
    first: dict[tuple[str, str | None], int] = {}  # sending of each operation
    for op in ops:
        name = op.session, op.op
        first[name] = min(op.invoked, first.get(name, op.invoked))
    for of_one in own.values():
        floor = Floor(_versions_told(of_one, first))
        for op in of_one:
            if op.version is not None and _within(op, windows) and floor.undoes(op, op.version):
                changed[op.number] = replace(changed.get(op.number, op), version=None)


def _versions_told(
    ops: Iterable[Op], first: Mapping[tuple[str, str | None], int]
) -> Iterator[tuple[int, int]]:
    """When it was sent and what it was told; before the last write that it follows there was one less."""
    ops = list(ops)
    wrote = sorted(
        (op.returned, first[op.session, op.op] if op.op else op.invoked)
        for op in ops
        if op.kind in RAISES
    )
    latest = list(accumulate((begun for _, begun in wrote), max))
    for op in ops:
        if op.version is not None:
            yield op.invoked, op.version - (op.kind in RAISES)
            place = bisect_left(wrote, (op.invoked, 0))
            if place:
                yield latest[place - 1], op.version - 1
