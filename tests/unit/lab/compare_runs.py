"""Runs made up for tests of the comparison: answers with latencies of the test's choosing."""

import math
import random
from collections.abc import Callable

from lab.open_load import Arrival
from lab.policies.cells import Cell, Run, make_cell
from lab.visitors import READ
from loadtest.check.op import Kind, Op, Outcome

WARM_UP = 0.5
MILLISECOND = 10**6
Latency = Callable[[Arrival], float]


def answered(number: int, arrival: Arrival, ms: float, **more: object) -> Op:
    """The answer to an arrival, `ms` after it was due."""
    due = int(arrival.at * 1e9)
    op = Op(number, Kind.READ, f"s{arrival.user}", "u", invoked=due, intended=due)
    op.returned, op.outcome, op.worker = due + int(ms * MILLISECOND), Outcome.OK, f"w{number % 4}"
    for name, value in more.items():
        setattr(op, name, value)
    return op


def plan(seconds: float = 3.0, rate: int = 100) -> list[Arrival]:
    """Fast requests at even distances."""
    return [Arrival(n / rate, n % 10, READ) for n in range(int(seconds * rate))]


def run(latency: Latency, number: int = 0, policy: str = "round_robin", **more: object) -> Run:
    """One round in which each request takes what `latency` says, in milliseconds."""
    arrivals = plan()
    ops = [answered(n, arrival, latency(arrival), **more) for n, arrival in enumerate(arrivals)]
    return Run(policy, "blocking", number, WARM_UP, arrivals, ops, cpu_share=0.1)


def cell(
    mean: float, seed: str, rounds: int = 4, policy: str = "round_robin", unsteady: float = 0.0
) -> Cell:
    """A cell with heavily scattered latencies around `mean` milliseconds.

    `unsteady` is the scatter of whole rounds, the standard deviation of their means' logarithm.
    """
    rng = random.Random(seed)
    scale = [mean * math.exp(rng.gauss(0, unsteady)) for _ in range(rounds)]
    return make_cell(
        [
            run(lambda _, ms=scale[number]: rng.expovariate(1 / ms), number, policy)
            for number in range(rounds)
        ]
    )
