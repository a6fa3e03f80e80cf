"""Normal requests beside the streams: open arrivals of visitors whose sessions are checked."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Sequence

from lab.open_load import Arrival, Driver, latency_ms
from lab.streams.results import Probe
from lab.visitors import READ, VISIT
from loadtest.check.op import Op, Outcome
from loadtest.load.arrivals import due_times
from loadtest.verdict.latency import percentile

USERS = 60
RATE = 150.0  # a second
VISIT_SHARE = 0.05  # few, as what they write stays in Redis, whose memory is looked at
WINDOW_SECONDS = 1.0


class Prober:
    """Sends reads and visits to one address and times them from the moment they are due."""

    def __init__(self, driver: Driver, url: str) -> None:
        self._driver = driver
        self._url = url
        self._seed = 0

    async def measure(self, seconds: float) -> Probe:
        """Send for so long, a window after the other."""
        count = max(1, round(seconds / WINDOW_SECONDS))
        return _summed([await self._send() for _ in range(count)])

    async def measure_while(self, task: asyncio.Task[None]) -> Probe:
        """Send until `task` is done, and at least once."""
        windows = [await self._send()]
        while not task.done():
            windows.append(await self._send())
        return _summed(windows)

    async def _send(self) -> Sequence[Op | None]:
        self._seed += 1
        rng = random.Random(self._seed)
        plan = []
        for at in due_times(RATE, self._seed):
            if at > WINDOW_SECONDS:
                break
            request = VISIT if rng.random() < VISIT_SHARE else READ
            plan.append(Arrival(at, rng.randrange(USERS), request))
        return (await self._driver.run(plan, self._url)).ops


def _summed(windows: Sequence[Sequence[Op | None]]) -> Probe:
    ops = [op for window in windows for op in window]
    sent = [op for op in ops if op is not None]
    unknown = sum(op.outcome is Outcome.UNKNOWN for op in sent)
    failed = len(ops) - unknown - sum(op.outcome is Outcome.OK for op in sent)
    each = [_percentile(window, 0.99) for window in windows]
    return Probe(
        asked=len(ops),
        failed=failed,
        unknown=unknown,
        p50=_percentile(ops, 0.5),
        p99=statistics.median(each),
        windows=each,
    )


def _percentile(ops: Sequence[Op | None], share: float) -> float:
    """Of the answered ones, in ms."""
    answered = [op for op in ops if op is not None and op.outcome is Outcome.OK]
    return percentile(sorted(map(latency_ms, answered)) or [0.0], share)


def now() -> float:
    """The clock that streams are timed with, in seconds."""
    return time.monotonic_ns() / 1e9
