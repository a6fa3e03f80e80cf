"""The queueing model: the same arrivals, four servers that do one thing at a time, no noise.

A worker is a first-come-first-served queue. A fast request holds it for a moment, a blocking call
for its whole length; an awaited call holds it for a moment and then only looks busy to a balancer
that counts requests in flight. Network, nginx, Redis and the sharing of cores are left out.
"""

import heapq
import random
from collections.abc import Callable, Mapping, Sequence

from lab.open_load import Arrival
from lab.policies.workloads import BLOCK, SLOW_SECONDS, WAIT

# Chooses a worker for an arrival from how many requests each has in flight.
Chooser = Callable[[Arrival, Sequence[int]], int]


def simulate(
    plan: Sequence[Arrival], workers: int, choose: Chooser, fast_seconds: float
) -> list[float]:
    """The latency of every arrival, in seconds."""
    free_at = [0.0] * workers
    in_flight = [0] * workers
    under_way: list[tuple[float, int]] = []
    latencies = []
    for arrival in plan:
        while under_way and under_way[0][0] <= arrival.at:
            in_flight[heapq.heappop(under_way)[1]] -= 1
        worker = choose(arrival, in_flight)
        held = SLOW_SECONDS if arrival.request is BLOCK else 0.0
        free_at[worker] = max(arrival.at, free_at[worker]) + fast_seconds + held
        waited = SLOW_SECONDS if arrival.request is WAIT else 0.0
        end = free_at[worker] + waited
        in_flight[worker] += 1
        heapq.heappush(under_way, (end, worker))
        latencies.append(end - arrival.at)
    return latencies


def round_robin(workers: int) -> Chooser:
    """Each in turn, blind to what they do."""
    turn = -1

    def choose(_: Arrival, in_flight: Sequence[int]) -> int:
        nonlocal turn
        turn = (turn + 1) % workers
        return turn

    return choose


def least_conn(workers: int) -> Chooser:
    """The fewest requests in flight; the longest unused among equals, as nginx takes turns there."""
    used = [-1] * workers
    count = 0

    def choose(_: Arrival, in_flight: Sequence[int]) -> int:
        nonlocal count
        worker = min(range(workers), key=lambda w: (in_flight[w], used[w]))
        used[worker] = count
        count += 1
        return worker

    return choose


def random_two(workers: int) -> Chooser:
    """The less busy of two chosen at random."""
    rng = random.Random("random two")

    def choose(_: Arrival, in_flight: Sequence[int]) -> int:
        pair = rng.sample(range(workers), min(2, workers))
        return min(pair, key=lambda w: in_flight[w])

    return choose


def pinned(pins: Mapping[int, int]) -> Callable[[int], Chooser]:
    """The worker that this user had in the measured run; by number where he had none."""

    def policy(workers: int) -> Chooser:
        def choose(arrival: Arrival, _: Sequence[int]) -> int:
            return pins.get(arrival.user, arrival.user % workers)

        return choose

    return policy
