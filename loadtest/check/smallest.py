"""The smallest part of a history that still breaks a promise, to be read, kept, or checked again."""

from dataclasses import replace
from pathlib import Path

from loadtest.check.history import HistoryWriter
from loadtest.check.offline import check
from loadtest.check.op import RAISES, Invariant, Lifetimes, Op, ended_sessions
from loadtest.check.tally import Report, Witness

MOST_OPS = 400  # of the sessions concerned, before it is made smaller


def store_smallest(path: Path, ops: list[Op], lifetimes: Lifetimes, report: Report) -> None:
    """Write that of the broken promise with the smallest witness; nothing when all are kept."""
    broken = [(name, tally.witness) for name, tally in report.tallies.items() if tally.violations]
    if not broken:
        return
    invariant, witness = min(broken, key=lambda found: found[1].size)
    kept = smallest(ops, lifetimes, invariant, witness)
    with HistoryWriter(path, lifetimes, broken=invariant) as history:
        for op in kept:
            history.write(op)


def smallest(
    ops: list[Op], lifetimes: Lifetimes, invariant: Invariant, witness: Witness
) -> list[Op]:
    """Leave out whatever can be left out while `invariant` stays broken by the same requests.

    Raises of the counters concerned stay: without one, a right count would look wrong.
    """
    numbers = {op.number for op in witness.ops}
    sessions = _concerned(ops, witness)
    end = max(op.returned for op in witness.ops)
    own = [op for op in ops if op.session in sessions and op.invoked <= end]
    counters = {(op.session, op.key) for op in witness.ops}
    fixed = numbers | {
        op.number for op in own if op.kind in RAISES and (op.session, op.key) in counters
    }
    own = own[-MOST_OPS:]
    if not _breaks(own, lifetimes, invariant):
        return own  # what matters is further back; a larger piece is better than none
    size = len(own) // 2  # halves, quarters, …, single requests
    while size:
        start = 0
        while start < len(own):
            fewer = [
                op
                for place, op in enumerate(own)
                if not start <= place < start + size or op.number in fixed
            ]
            if len(fewer) < len(own) and _breaks(fewer, lifetimes, invariant):
                own = fewer
            else:
                start += size
        size //= 2
    return own


def _concerned(ops: list[Op], witness: Witness) -> set[str]:
    """The sessions of the witness, those of the same users, and those that had a hand in their end."""
    users = {op.user for op in witness.ops}
    sessions = {op.session for op in witness.ops}
    sessions |= {op.session for op in ops if op.user in users}
    return sessions | {op.session for op in ops if sessions & set(ended_sessions(op))}


def _breaks(ops: list[Op], lifetimes: Lifetimes, invariant: Invariant) -> bool:
    report = check([replace(op) for op in ops], lifetimes)
    return report.tallies[invariant].violations > 0
