"""How much a history could have shown: pairs that crossed workers, and requests that overlapped."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from loadtest.check.offline import Highest
from loadtest.check.op import RAISES, SHOWS, Op, Outcome


@dataclass(slots=True)
class Evidence:
    """Counts over all sessions."""

    pairs: int = 0  # a read, and the newest raise of its counter acknowledged before it began
    crossed: int = 0  # of these, answered by two different workers
    overlaps: int = 0  # requests sent while another one of their session was in flight


def find_evidence(ops: Iterable[Op]) -> Evidence:
    """Count what a history offers to the checkers."""
    evidence = Evidence()
    sessions: defaultdict[str, list[Op]] = defaultdict(list)
    for op in ops:
        sessions[op.session].append(op)
    for own in sessions.values():
        _add_pairs(evidence, own)
        _add_overlaps(evidence, own)
    return evidence


def _add_pairs(evidence: Evidence, ops: list[Op]) -> None:
    writes: defaultdict[str | None, list[Op]] = defaultdict(list)
    reads: defaultdict[str | None, list[Op]] = defaultdict(list)
    for op in ops:
        if op.outcome is Outcome.OK and op.value is not None:
            if op.kind in RAISES:
                writes[op.key].append(op)
            elif op.kind in SHOWS:
                reads[op.key].append(op)
    for key in writes:
        newest = Highest(writes[key])
        for read in reads[key]:
            write = newest.before(read.invoked)
            if write is not None:
                evidence.pairs += 1
                evidence.crossed += write.worker != read.worker


def _add_overlaps(evidence: Evidence, ops: list[Op]) -> None:
    begun = sorted(op.invoked for op in ops)
    ended = sorted(op.returned for op in ops)
    for op in ops:
        evidence.overlaps += bisect_left(begun, op.invoked) > bisect_left(ended, op.invoked)
