"""Latency percentiles from the stored history, in milliseconds with microsecond resolution.

Service time counts from the moment a request was sent. Response time counts from the moment it
was due: a stalled server delays the requests behind it, and only response time shows that.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

from loadtest.check.op import Kind, Op

Number = TypeVar("Number", int, float)
OPEN = "open arrivals, from due time"


@dataclass(frozen=True, slots=True)
class Latency:
    """One row of the table; milliseconds."""

    count: int
    p50: float
    p95: float
    p99: float
    worst: float


def percentile(ordered: Sequence[Number], share: float) -> Number:
    """The smallest value that at least `share` of an ordered, non-empty sequence do not exceed."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def measure(ops: Iterable[Op]) -> dict[str, Latency]:
    """Service time of each kind of request, and response time of the open arrivals."""
    samples: defaultdict[str, list[int]] = defaultdict(list)
    for op in ops:
        if op.status:
            samples[op.kind].append(op.returned - op.invoked)
            if op.intended is not None:
                samples[OPEN].append(op.returned - op.intended)
    names = [*Kind, OPEN]
    return {str(name): summarise(samples[name]) for name in names if samples[name]}


def by_worker(ops: Iterable[Op]) -> dict[str, Latency]:
    """Service time of what each worker answered, without what is slow on purpose."""
    samples: defaultdict[str, list[int]] = defaultdict(list)
    for op in ops:
        if op.worker and op.kind is not Kind.SLOW:
            samples[op.worker].append(op.returned - op.invoked)
    return {name: summarise(samples[name]) for name in sorted(samples)}


def summarise(nanoseconds: list[int]) -> Latency:
    """The row of these samples."""
    ordered = sorted(nanoseconds)
    p50, p95, p99 = (percentile(ordered, share) / 1e6 for share in (0.5, 0.95, 0.99))
    return Latency(len(ordered), p50, p95, p99, ordered[-1] / 1e6)
