"""The figures of one cell of the table, a policy under a workload, pooled over its rounds.

Latencies are those of fast requests, in milliseconds, from the moment each was due.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lab.open_load import Arrival, latency_ms
from lab.policies.workloads import is_fast
from loadtest.check.op import Op, Outcome
from loadtest.verdict.latency import percentile

MOST_CPU = 0.85  # of one core; beyond that the generator measures itself
LATE_MS = 20.0
MOST_LATE = 0.02  # share of arrivals sent later than LATE_MS after they were due
BLOCK_SECONDS = 0.5
LEAST_OF_A_USER = 5  # requests, to speak of a user's p95
HURT_MS = 50.0


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one plan under one policy; `ops` are in its order, None where an arrival was dropped."""

    policy: str
    workload: str
    round: int
    warm_up: float
    plan: Sequence[Arrival]
    ops: Sequence[Op | None]
    cpu_share: float  # of one core, by the generator

    @property
    def measured(self) -> list[tuple[Arrival, Op | None]]:
        """The arrivals after the warm-up, and what was answered."""
        pairs = zip(self.plan, self.ops, strict=True)
        return [(arrival, op) for arrival, op in pairs if arrival.at >= self.warm_up]


@dataclass(frozen=True, slots=True)
class Block:
    """Half a second of one round: what the intervals are resampled from."""

    round: int
    total_ms: float
    count: int


@dataclass(frozen=True, slots=True)
class Latencies:
    """Those of fast requests, measured or simulated, in milliseconds and rising order."""

    latencies: tuple[float, ...]

    @property
    def mean(self) -> float:
        return sum(self.latencies) / len(self.latencies)

    def at(self, share: float) -> float:
        """The latency that this share of them did not exceed."""
        return percentile(self.latencies, share)


@dataclass(frozen=True, slots=True)
class Cell(Latencies):
    """One cell.  `invalid` says why its figures must not be used; empty when they may."""

    policy: str
    workload: str
    blocks: tuple[Block, ...]
    worst_user_p95: float
    users_hurt: float  # share of users whose p95 is above HURT_MS
    shares: dict[str, int]  # answers by worker
    pins: dict[int, dict[str, int]]  # answers by user and worker
    late_p99_ms: float  # how long after its moment the generator sent
    cpu_share: float
    dropped: int
    failed: int
    invalid: tuple[str, ...]

    @property
    def spread(self) -> float:
        """The busiest worker's answers by the quietest's; infinite when one worker had all."""
        counts = self.shares.values()
        return max(counts) / min(counts) if len(self.shares) > 1 else float("inf")


def make_cell(runs: Sequence[Run]) -> Cell:
    """Pool the runs of one policy under one workload."""
    pairs = [pair for run in runs for pair in run.measured]
    ops = [op for _, op in pairs if op is not None]
    fast = [(arrival, op) for arrival, op in pairs if op is not None and is_fast(arrival.request)]
    answered = [(arrival, op) for arrival, op in fast if op.outcome is Outcome.OK]
    users = _users_p95(answered)
    lateness = sorted((op.invoked - (op.intended or op.invoked)) / 1e6 for op in ops)
    cell = Cell(
        policy=runs[0].policy,
        workload=runs[0].workload,
        latencies=tuple(sorted(latency_ms(op) for _, op in answered)),
        blocks=tuple(block for run in runs for block in _blocks(run)),
        worst_user_p95=max(users, default=float("nan")),
        users_hurt=sum(p95 > HURT_MS for p95 in users) / max(1, len(users)),
        shares=dict(Counter(op.worker for op in ops if op.worker)),
        pins=_pins(pairs),
        late_p99_ms=percentile(lateness or [0.0], 0.99),
        cpu_share=max(run.cpu_share for run in runs),
        dropped=len(pairs) - len(ops),
        failed=sum(op.outcome is not Outcome.OK for op in ops),
        invalid=(),
    )
    return _judged(cell, lateness)


def _judged(cell: Cell, lateness: Sequence[float]) -> Cell:
    late = sum(ms > LATE_MS for ms in lateness) / max(1, len(lateness))
    reasons = {
        "no fast request was answered": not cell.latencies,
        f"{cell.dropped} arrivals were dropped": cell.dropped,
        f"{cell.failed} requests failed": cell.failed,
        f"the generator used {cell.cpu_share:.0%} of a core": cell.cpu_share > MOST_CPU,
        f"the generator sent {late:.1%} more than {LATE_MS:g} ms late": late > MOST_LATE,
    }
    found = tuple(reason for reason, true in reasons.items() if true)
    return replace(cell, invalid=found)


def _blocks(run: Run) -> list[Block]:
    sums: defaultdict[int, list[float]] = defaultdict(list)
    for arrival, op in run.measured:
        if op is not None and is_fast(arrival.request) and op.outcome is Outcome.OK:
            sums[int((arrival.at - run.warm_up) / BLOCK_SECONDS)].append(latency_ms(op))
    return [Block(run.round, sum(sums[n]), len(sums[n])) for n in sorted(sums)]


def _users_p95(answered: Sequence[tuple[Arrival, Op]]) -> list[float]:
    by_user: defaultdict[int, list[float]] = defaultdict(list)
    for arrival, op in answered:
        by_user[arrival.user].append(latency_ms(op))
    enough = [sorted(own) for own in by_user.values() if len(own) >= LEAST_OF_A_USER]
    return [percentile(own, 0.95) for own in enough]


def _pins(pairs: Sequence[tuple[Arrival, Op | None]]) -> dict[int, dict[str, int]]:
    found: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for arrival, op in pairs:
        if op is not None and op.worker:
            found[arrival.user][op.worker] += 1
    return {user: dict(workers) for user, workers in found.items()}
