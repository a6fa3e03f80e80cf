"""Normal requests beside the streams: open arrivals of checked users, as in the comparison."""

import asyncio
import random
import time
from collections.abc import Sequence

from loadtest.arrivals import due_times
from loadtest.compare.cells import latency
from loadtest.compare.drive import Driver
from loadtest.compare.workloads import USERS, Arrival, Call
from loadtest.latency import percentile
from loadtest.longconn.results import Probe
from loadtest.operations import Op, Outcome

RATE = 60.0  # a second
VISIT_SHARE = 0.1  # few, as what they write stays in Redis, whose memory is looked at
PIECE_SECONDS = 2.0


class Prober:
    """Sends reads and visits to one address and times them from the moment they are due."""

    def __init__(self, driver: Driver, url: str) -> None:
        self._driver = driver
        self._url = url
        self._seed = 0

    async def measure(self, seconds: float) -> Probe:
        """Send for so long."""
        return _summed(await self._send(seconds))

    async def measure_while(self, task: asyncio.Task[None]) -> Probe:
        """Send until `task` is done, and at least once."""
        ops = await self._send(PIECE_SECONDS)
        while not task.done():
            ops += await self._send(PIECE_SECONDS)
        return _summed(ops)

    async def _send(self, seconds: float) -> list[Op | None]:
        self._seed += 1
        dice = random.Random(self._seed)
        plan = []
        for at in due_times(RATE, self._seed):
            if at > seconds:
                break
            call = Call.VISIT if dice.random() < VISIT_SHARE else Call.READ
            plan.append(Arrival(at, dice.randrange(USERS), call))
        ops, _ = await self._driver.run(plan, self._url, ["127.0.0.1"] * USERS)
        return ops


def _summed(ops: Sequence[Op | None]) -> Probe:
    sent = [op for op in ops if op is not None]
    unknown = sum(op.outcome is Outcome.UNKNOWN for op in sent)
    answered = sorted(round(latency(op) * 1e6) for op in sent if op.outcome is Outcome.OK) or [0]
    p50, p99 = (percentile(answered, share) / 1e6 for share in (0.5, 0.99))
    failed = len(ops) - unknown - sum(op.outcome is Outcome.OK for op in sent)
    return Probe(len(ops), failed, unknown, p50, p99)


def now() -> float:
    """The clock that streams are timed with, in seconds."""
    return time.monotonic_ns() / 1e9
