"""The load: a fixed number of requests a second, sent whether or not earlier ones were answered."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from deploy.refused import Refused
from lab.operations.visitor import LoadVisitor, Result
from lab.visitors import LoginFailed, Visitors
from loadtest.check.history import Sink
from loadtest.check.online import Checker
from loadtest.check.op import Invariant, Op
from loadtest.check.tally import Witness, explain
from loadtest.load.recorder import Recorder

RATE = 320.0  # requests a second
SESSIONS = 31  # a prime: under round robin each session goes from worker to worker
NO_LOGIN = "the load needs a demo stack with the password `demo`"
WARM_SECONDS = 1.0  # before an operation, and after it


class NoHistory:
    """Keeps nothing: the online checker has seen each request by then."""

    def write(self, op: Op) -> None:
        pass

    def close(self) -> None:
        pass


class Load:
    """Visitors that take turns, half of the requests GET and half POST."""

    def __init__(self, url: str, rate: float = RATE, history: Sink | None = None) -> None:
        self._rate = rate
        self._wrong: dict[str, str] = {}  # by session, its first contradiction
        self.results: list[Result] = []
        self._recorder = Recorder(Checker(on_violation=self._take), history or NoHistory())
        visitors = Visitors(self._recorder, "demo")
        self._visitors = [LoadVisitor(visitors, url, self.results.append) for _ in range(SESSIONS)]

    async def log_in(self) -> None:
        """A session for each; Refused when a login is."""
        try:
            for visitor in self._visitors:
                await visitor.log_in(f"load-{uuid.uuid4().hex[:8]}")
        except LoginFailed as error:
            raise Refused(f"{NO_LOGIN}: {error}") from None

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
        """What is wrong, once every write's outcome is known: a contradiction a session, and what is stuck."""
        await asyncio.gather(*(visitor.settle() for visitor in self._visitors))
        stuck = [f"{v.who.user} {v.stuck.pop()}" for v in self._visitors if v.stuck]
        return [*self._take_wrong(), *stuck]

    def close(self) -> list[str]:
        """End the record; returns the sessions whose counter is wrong as a whole."""
        for visitor in self._visitors:
            visitor.close()
        self._recorder.close()
        self._recorder.checker.finish()
        return self._take_wrong()

    def _take(self, invariant: Invariant, witness: Witness) -> None:
        proof = "; ".join(explain(witness))
        wrong = witness.ops[-1]
        self._wrong.setdefault(wrong.session, f"{wrong.user} {invariant}: {proof}")

    def _take_wrong(self) -> list[str]:
        found = list(self._wrong.values())
        self._wrong.clear()
        return found

    async def _send(self) -> None:
        """Each request at its own time: a slow answer delays no other request."""
        self._requests: set[asyncio.Task[None]] = set()
        began = time.monotonic()
        for number, visitor in enumerate(itertools.cycle(self._visitors)):
            await asyncio.sleep(began + number / self._rate - time.monotonic())
            # As SESSIONS is odd, each visitor reads and writes in turn.
            task = asyncio.create_task(visitor.write() if number % 2 else visitor.read())
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)


def failures(results: Sequence[Result], method: str) -> Counter[str]:
    """How often requests of that method failed, by kind."""
    return Counter(r.failure for r in results if r.failure and r.method == method)
