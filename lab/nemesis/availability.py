"""What visitors got while something was wrong: requests that failed, silence of an edge, and when all was well again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lab.nemesis.phases import Phase
from loadtest.check.op import Kind, Op, Outcome

SERVED = (Outcome.OK, Outcome.DENIED, Outcome.CONFLICT)
NEEDS_NO_STORE = (Kind.STRANGER,)  # turned away without asking it


@dataclass(frozen=True)
class Measured:
    """One phase.  `silent` are the longest seconds without a success, by edge."""

    requests: int
    failed: int
    silent: Mapping[str, float]
    back: float  # seconds from the healing to the last failed request's end

    @property
    def failed_share(self) -> float:
        return self.failed / max(1, self.requests)

    @property
    def silent_seconds(self) -> float:
        return max(self.silent.values(), default=0.0)


def measure(ops: Sequence[Op], phase: Phase, edges: Sequence[str]) -> Measured:
    """From the moment when the fault began until the visitors rested."""
    during = [op for op in ops if phase.began <= op.returned and op.invoked <= phase.rested]
    failed = [op for op in during if op.outcome not in SERVED]
    last = max((op.returned for op in failed), default=phase.healed)
    return Measured(
        requests=len(during),
        failed=len(failed),
        silent={edge: _longest_gap(during, phase, edge) for edge in edges},
        back=max(0.0, (last - phase.healed) / 1e9),
    )


def _longest_gap(ops: Sequence[Op], phase: Phase, edge: str) -> float:
    served = sorted(
        op.returned
        for op in ops
        if op.through == edge and op.outcome in SERVED and op.kind not in NEEDS_NO_STORE
    )
    moments = [phase.began, *(at for at in served if at < phase.rested), phase.rested]
    return max(after - before for before, after in pairwise(moments)) / 1e9
