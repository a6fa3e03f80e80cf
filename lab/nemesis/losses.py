"""What a failover may lose without a violation: taken out of the history, and counted.

With SESSION_WRITES_ACKNOWLEDGED_BY=0 an answer waits for no replica: a failover may lose what was acknowledged in the
last moments before it, and all that a master took which nobody followed any more.  With 1 it may lose nothing that
was acknowledged.  But reads wait for nobody: they may have shown a write that was never acknowledged and is lost.

A history in which exactly those writes are only "may have happened", and those reads have shown nothing, must hold
every promise: `without_losses` makes it.  An acknowledged logout is no such write: one that is undone stays a violation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from lab.nemesis.phases import Phase
from loadtest.check.op import RAISES, SHOWS, Kind, Op, Outcome

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
    kept = [op for op in ops if op.user not in gone]
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
    """Users of whom a session that began in such a moment is not known any more, though nobody has ended it."""
    ended = {op.session for op in ops if op.kind in (Kind.LOGOUT, Kind.END)}
    ended |= {
        name for op in ops for name in (*(op.ends or ()), *((op.replaces,) if op.replaces else ()))
    }
    logins = {
        op.session: op
        for op in ops
        if op.kind is Kind.LOGIN and op.outcome is Outcome.OK and _within(op, windows)
    }
    denied = {
        op.session for op in ops if op.outcome is Outcome.DENIED and op.kind is not Kind.WRONG
    }
    names = (denied & logins.keys()) - ended
    lost.sessions += [logins[name] for name in names]
    return {logins[name].user for name in names}


def _by_counter(ops: Iterable[Op]) -> dict[tuple[str, str | None], list[Op]]:
    found: defaultdict[tuple[str, str | None], list[Op]] = defaultdict(list)
    for op in ops:
        if op.kind in RAISES or op.kind in SHOWS or op.kind is Kind.DELETE:
            found[op.session, op.key].append(op)
    return found


def _settle(
    ops: list[Op], windows: list[tuple[int, int]], lost: Lost, changed: dict[int, Op]
) -> None:
    """Look back from the end: what a later request has not seen any more was lost.

    A raise of which that is so may have happened, and a read that saw it has seen nothing that counts.
    """
    lowest: int | None = None  # that a later request has shown
    for op in sorted(ops, key=lambda op: op.invoked, reverse=True):
        if op.outcome is not Outcome.OK or op.value is None:
            continue
        undone = lowest is not None and op.value > lowest
        if undone and _within(op, windows):
            if op.kind in RAISES:
                lost.writes.append(op)
                changed[op.number] = _emptied(op, Outcome.UNKNOWN)
            else:
                changed[op.number] = _emptied(op, op.outcome)
            continue
        shown = op.value - (op.kind in RAISES)
        lowest = shown if lowest is None else min(shown, lowest)


def _settle_shown(
    ops: list[Op], windows: list[tuple[int, int]], lost: Lost, changed: dict[int, Op]
) -> None:
    """Look back from the end: what a read has shown and a later one has not was lost, if nobody had acknowledged it."""
    sure = [
        op for op in ops if op.kind in RAISES and op.outcome is Outcome.OK and op.value is not None
    ]
    lowest: int | None = None  # that a later request has shown
    for op in sorted(ops, key=lambda op: op.invoked, reverse=True):
        if op.outcome is not Outcome.OK or op.value is None:
            continue
        undone = lowest is not None and op.value > lowest and op.kind in SHOWS
        promised = any(one.value >= op.value for one in sure if one.invoked < op.returned)  # type: ignore[operator]
        if undone and not promised and _within(op, windows):
            lost.shown.append(op)
            changed[op.number] = _emptied(op, op.outcome)
            continue
        shown = op.value - (op.kind in RAISES)
        lowest = shown if lowest is None else min(shown, lowest)


def _emptied(op: Op, outcome: Outcome) -> Op:
    return replace(op, outcome=outcome, value=None, version=None, got=None)


def _settle_versions(
    ops: Sequence[Op], windows: list[tuple[int, int]], changed: dict[int, Op]
) -> None:
    """A version above one that was shown later belongs to what was lost."""
    lowest: dict[str, int] = {}
    for op in sorted(ops, key=lambda op: op.invoked, reverse=True):
        if op.version is None or op.outcome is not Outcome.OK:
            continue
        before = lowest.get(op.session)
        if before is not None and op.version > before and _within(op, windows):
            changed[op.number] = replace(changed.get(op.number, op), version=None)
            continue
        lowest[op.session] = min(op.version, before if before is not None else op.version)
