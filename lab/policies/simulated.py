"""The simulated twin of every measured cell: same arrivals, same users on the same workers."""

from collections.abc import Sequence

from lab.policies.cells import Cell, Latencies, Run
from lab.policies.policies import BY_NAME, chooser
from lab.policies.queueing import simulate
from lab.policies.workloads import is_fast


def simulated(
    cell: Cell, runs: Sequence[Run], workers: Sequence[str], fast_seconds: float
) -> Latencies:
    """Simulate every round of a cell as it was measured, warm-up cut alike."""
    found: list[float] = []
    for run in runs:
        choose = chooser(BY_NAME[cell.policy], len(workers), _pins(cell, workers))
        latencies = simulate(run.plan, len(workers), choose, fast_seconds)
        pairs = zip(run.plan, latencies, strict=True)
        found += [
            seconds * 1e3
            for arrival, seconds in pairs
            if is_fast(arrival.request) and arrival.at >= run.warm_up
        ]
    return Latencies(tuple(sorted(found)))


def _pins(cell: Cell, workers: Sequence[str]) -> dict[int, int]:
    """The worker that answered each user most."""
    number = {worker: index for index, worker in enumerate(workers)}
    return {
        user: number[max(answers, key=lambda worker: answers[worker])]
        for user, answers in cell.pins.items()
    }
