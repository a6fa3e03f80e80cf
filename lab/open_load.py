"""Open load: a plan of arrivals sent to one address, each at its moment, whether or not answers come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from lab.client import Client
from lab.visitors import Request, Visitor, Visitors
from loadtest.check.op import Op

SLOTS = 400  # requests in flight at most; an arrival that finds them all taken is dropped
OPENED = 16  # connections made before the first request


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that is due `at` seconds after the start of a run; `user` is a visitor's number."""

    at: float
    user: int
    request: Request


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a plan; `ops` are in its order, None where an arrival was dropped."""

    ops: Sequence[Op | None]
    cpu_share: float  # of one core, by the generator while it sent


class Driver:
    """Sends plans.  Nothing else may run in its process meanwhile."""

    def __init__(self, visitors: Visitors, who: Sequence[Visitor]) -> None:
        self._visitors, self._who = visitors, who

    async def run(
        self, plan: Sequence[Arrival], url: str, addresses: Sequence[str] | None = None
    ) -> Sent:
        """Send everything; returns when the last answer is there.

        `addresses` are the forwarded ones that the visitors claim to come from.
        """
        async with Client(url) as client:
            await client.open(OPENED)
            wall, busy = time.monotonic_ns(), time.process_time()
            tasks: list[asyncio.Task[Op] | None] = []
            waiting: set[asyncio.Task[Op]] = set()
            try:
                for arrival in plan:
                    due = wall + int(arrival.at * 1e9)
                    # However late it is, other tasks run first.
                    await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
                    full = len(waiting) >= SLOTS
                    task = None if full else self._send(client, arrival, due, addresses)
                    tasks.append(task)
                    if task:
                        waiting.add(task)
                        task.add_done_callback(waiting.discard)
                share = (time.process_time() - busy) / ((time.monotonic_ns() - wall) / 1e9)
            except asyncio.CancelledError:
                for task in waiting:
                    task.cancel()
                raise
            finally:
                if waiting:
                    await asyncio.wait(waiting)
        return Sent([task.result() if task else None for task in tasks], share)

    def _send(
        self, client: Client, arrival: Arrival, due: int, addresses: Sequence[str] | None
    ) -> asyncio.Task[Op]:
        headers = {"X-Forwarded-For": addresses[arrival.user]} if addresses else None
        visitor = self._who[arrival.user]
        return asyncio.create_task(
            self._visitors.ask(client, visitor, arrival.request, due, headers)
        )


def latency_ms(op: Op) -> float:
    """From the moment it was due to the answer."""
    return (op.returned - (op.intended or op.invoked)) / 1e6
