"""One run: a plan of arrivals sent through one policy's address, each at its moment."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from lab.client import Client
from lab.policies.crowd import Crowd
from lab.policies.workloads import Arrival
from loadtest.check.op import Op

SLOTS = 400  # requests in flight at most; an arrival that finds them all taken is dropped
OPENED = 16  # connections made before the first request


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a plan; `ops` are in its order, None where an arrival was dropped."""

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


class Driver:
    """Sends plans.  Nothing else may run in its process meanwhile."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd

    async def run(
        self, plan: Sequence[Arrival], url: str, addresses: Sequence[str]
    ) -> tuple[list[Op | None], float]:
        """Send everything, whether or not answers come; returns when the last one is there.

        The second value is the generator's share of one core while it sent.
        """
        async with Client(url) as client:
            await client.open(OPENED)
            wall, busy = time.monotonic_ns(), time.process_time()
            tasks: list[asyncio.Task[Op] | None] = []
            waiting: set[asyncio.Task[Op]] = set()
            try:
                for arrival in plan:
                    due = wall + int(arrival.at * 1e9)
                    await _until(due)
                    full = len(waiting) >= SLOTS
                    task = None if full else self._send(client, arrival, due, addresses)
                    tasks.append(task)
                    if task:
                        waiting.add(task)
                        task.add_done_callback(waiting.discard)
                spent = time.process_time() - busy, (time.monotonic_ns() - wall) / 1e9
            except asyncio.CancelledError:
                for task in waiting:
                    task.cancel()
                raise
            finally:
                if waiting:
                    await asyncio.wait(waiting)
        return [task.result() if task else None for task in tasks], spent[0] / spent[1]

    def _send(
        self, client: Client, arrival: Arrival, due: int, addresses: Sequence[str]
    ) -> asyncio.Task[Op]:
        request = self._crowd.ask(client, arrival, due, addresses[arrival.user])
        return asyncio.create_task(request)


async def _until(moment: int) -> None:
    """Sleep until `moment` of the monotonic clock, in ns; always lets other tasks run."""
    await asyncio.sleep(max(0.0, (moment - time.monotonic_ns()) / 1e9))
