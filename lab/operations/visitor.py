"""One visitor of the load: reads its session and raises its counter, several requests at once if need be.

The load test's recorder and checker judge what it is answered.  A write that fails is sent again under its
operation id until it is acknowledged; in the record all its tries are one request, which must count once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from lab.client import Answer, Client
from lab.visitors import READ, VISIT, Request, Visitor, Visitors
from loadtest.check.op import Op, Outcome

ANSWER_SECONDS = 40.0  # above every timeout of nginx: nginx decides what is given up
AGAIN_SECONDS = 2.0  # between two tries of a write whose outcome is unknown
SETTLE_SECONDS = 20.0


@dataclass(frozen=True)
class Result:
    """One request of the load: `failure` is empty for success.  Times are of time.monotonic()."""

    began: float
    ended: float
    method: str
    failure: str


class LoadVisitor:
    """One session, with connections of its own, as a browser has."""

    def __init__(self, visitors: Visitors, url: str, note: Callable[[Result], None]) -> None:
        self.stuck: list[str] = []  # what did not succeed however often it was tried
        self._visitors, self._note = visitors, note
        self._client = Client(url, ANSWER_SECONDS, idle=1)
        self._repeated: set[asyncio.Task[None]] = set()

    async def log_in(self, user: str) -> None:
        """LoginFailed when that is refused."""
        [self._visitor] = await self._visitors.log_in(self._client, [user])

    @property
    def who(self) -> Visitor:
        return self._visitor

    async def read(self) -> None:
        """GET the session."""
        op = self._visitors.begin(self.who, READ)
        await self._timed(READ, op)
        self._visitors.recorder.complete(op)

    async def write(self) -> None:
        """POST a raise of the counter."""
        op = self._visitors.begin(self.who, VISIT)
        await self._timed(VISIT, op)
        if op.outcome is Outcome.OK:
            self._visitors.recorder.complete(op)
            return
        task = asyncio.create_task(self._repeat(op))
        self._repeated.add(task)
        task.add_done_callback(self._repeated.discard)

    async def settle(self) -> None:
        """When the load has paused: wait for every write's outcome, then read the counter at rest."""
        await asyncio.gather(*self._repeated)
        deadline = time.monotonic() + SETTLE_SECONDS
        while (
            op := await self._visitors.ask(self._client, self.who, READ)
        ).outcome is not Outcome.OK:
            if time.monotonic() > deadline:
                self.stuck.append(f"cannot be read afterwards: {op.why}")
                return
            await asyncio.sleep(AGAIN_SECONDS)

    def close(self) -> None:
        self._client.close()

    async def _timed(self, request: Request, op: Op) -> None:
        answer = await self._visitors.send(self._client, self.who, request, op)
        failure = "" if op.outcome is Outcome.OK else _name(answer)
        self._note(Result(op.invoked / 1e9, op.returned / 1e9, request.method, failure))

    async def _repeat(self, op: Op) -> None:
        """Send a write again, with its id, until it is acknowledged; no part of the load."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while op.outcome is not Outcome.OK and time.monotonic() < deadline:
            await asyncio.sleep(AGAIN_SECONDS)
            await self._visitors.send(self._client, self.who, VISIT, op)
        self._visitors.recorder.complete(op)
        if op.outcome is not Outcome.OK:
            self.stuck.append(f"{op.op} is never acknowledged: {op.why}")


def _name(answer: Answer | OSError) -> str:
    """What came instead of a success: a status, or the error's name."""
    return type(answer).__name__ if isinstance(answer, OSError) else str(answer.status)
