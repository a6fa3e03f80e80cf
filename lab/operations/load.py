"""The load: a fixed number of requests a second, sent whether or not earlier ones were answered."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from lab.operations.visitor import Result, Visitor

RATE = 320.0  # requests a second
SESSIONS = 32
WARM_SECONDS = 1.0  # before an operation, and after it


class Load:
    """Visitors that take turns, half of the requests GET and half POST."""

    def __init__(self, url: str, rate: float = RATE) -> None:
        self._rate = rate
        self.results: list[Result] = []
        names = [f"load-{uuid.uuid4().hex[:8]}" for _ in range(SESSIONS)]
        self._visitors = [Visitor(url, name, self.results.append) for name in names]

    async def log_in(self) -> None:
        for visitor in self._visitors:
            await visitor.log_in()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sends while the block runs, and a second before and after; then waits for every answer."""
        self.results.clear()
        sender = asyncio.create_task(self._send())
        try:
            await asyncio.sleep(WARM_SECONDS)
            yield
            await asyncio.sleep(WARM_SECONDS)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
        await asyncio.gather(*self._requests)

    async def wrong_sessions(self) -> list[str]:
        """The sessions that contradicted what was acknowledged, each with its first contradiction."""
        await asyncio.gather(*(visitor.settle() for visitor in self._visitors))
        found = [f"{v.name} {v.wrong[0]}" for v in self._visitors if v.wrong]
        for visitor in self._visitors:
            visitor.wrong.clear()
        return found

    def close(self) -> None:
        for visitor in self._visitors:
            visitor.close()

    async def _send(self) -> None:
        """Each request at its own time: a slow answer delays no other request."""
        self._requests: set[asyncio.Task[None]] = set()
        began = time.monotonic()
        for number, visitor in enumerate(itertools.cycle(self._visitors)):
            await asyncio.sleep(began + number / self._rate - time.monotonic())
            odd = (number + number // SESSIONS) % 2  # each visitor reads and writes in turn
            task = asyncio.create_task(visitor.write() if odd else visitor.read())
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)


def failures(results: Sequence[Result], method: str) -> Counter[str]:
    """How often requests of that method failed, by kind."""
    return Counter(r.failure for r in results if r.failure and r.method == method)


def throughput(results: Sequence[Result], since: float, until: float) -> float:
    """Successful answers a second in that time."""
    good = sum(not r.failure and since <= r.ended < until for r in results)
    return good / (until - since)
