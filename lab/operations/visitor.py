"""One session under load: what it sends, what was acknowledged, and whether the site ever contradicts that."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from deploy.refused import Refused
from lab.operations.client import Answer, Client

AGAIN_SECONDS = 2.0  # between two tries of an operation whose outcome is unknown
SETTLE_SECONDS = 20.0


@dataclass(frozen=True)
class Result:
    """One request of the load: `failure` is empty for success.  Times are of time.monotonic()."""

    began: float
    ended: float
    method: str
    failure: str

    def was_in_flight(self, moment: float) -> bool:
        return self.began <= moment <= self.ended


class Visitor:
    """Reads its session and raises its counter, several requests at once if need be."""

    def __init__(self, url: str, name: str, note: Callable[[Result], None]) -> None:
        self.name = name
        self.wrong: list[str] = []  # what contradicted the acknowledged operations
        self._note = note
        self._client = Client(url)
        self._operations = itertools.count()
        self._begun = 0
        self._acknowledged: set[int] = set()  # the numbers that were given out
        self._unsettled: set[asyncio.Task[None]] = set()

    async def log_in(self) -> None:
        form = f"username={self.name}&password=demo&next=%2F".encode()
        answer = await self._client.send(
            "POST", "/login", form, "application/x-www-form-urlencoded"
        )
        if answer.status != 302:
            text = "no login for the load, which needs a demo stack with the password `demo`"
            raise Refused(f"{text}: {answer.status} {answer.failure}")

    async def read(self) -> None:
        """GET: the session must be there, and hold at least what was acknowledged before."""
        least = len(self._acknowledged)
        answer = await self._timed("GET", "/api/session")
        if answer.status == 200:
            self._check_session(answer, least)
        elif answer.status == 401:
            self.wrong.append("was logged out")

    async def write(self) -> None:
        """POST: a new number, given to nobody else; a failed one is tried again until its outcome is known."""
        operation = f"{self.name}-{next(self._operations)}"
        self._begun += 1
        least = len(self._acknowledged)
        answer = await self._timed("POST", "/api/visits", _body(operation))
        if answer.status == 200:
            self._acknowledge(answer, least)
            return
        task = asyncio.create_task(self._settle(operation))
        self._unsettled.add(task)
        task.add_done_callback(self._unsettled.discard)

    async def settle(self) -> None:
        """When the load has paused: everything that was begun is counted once, and nothing else."""
        await asyncio.gather(*self._unsettled)
        answer = await self._insist("GET", "/api/session")
        if answer.status != 200:
            self.wrong.append(f"cannot be read afterwards: {answer.status} {answer.failure}")
        elif answer.json()["visits"] != self._begun:
            self.wrong.append(f"has {answer.json()['visits']} visits instead of {self._begun}")

    def close(self) -> None:
        self._client.close()

    async def _timed(self, method: str, path: str, body: bytes = b"") -> Answer:
        began = time.monotonic()
        answer = await self._client.send(method, path, body, "application/json")
        good = 200 <= answer.status < 300
        failure = "" if good else answer.failure or str(answer.status)
        self._note(Result(began, time.monotonic(), method, failure))
        return answer

    async def _settle(self, operation: str) -> None:
        """Send an operation again, with its id, until it is acknowledged; no part of the load."""
        answer = await self._insist("POST", "/api/visits", _body(operation))
        if answer.status == 200:
            self._acknowledge(answer, 0)  # it may have happened at the first try, long ago
        else:
            self.wrong.append(
                f"{operation} is never acknowledged: {answer.status} {answer.failure}"
            )

    async def _insist(self, method: str, path: str, body: bytes = b"") -> Answer:
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            answer = await self._client.send(method, path, body, "application/json")
            if answer.status == 200 or time.monotonic() > deadline:
                return answer
            await asyncio.sleep(AGAIN_SECONDS)

    def _acknowledge(self, answer: Answer, least: int) -> None:
        number = answer.json()["visits"]
        if number in self._acknowledged or not least < number <= self._begun:
            self.wrong.append(f"visit {number} of {least} to {self._begun} begun, or given twice")
        self._acknowledged.add(number)

    def _check_session(self, answer: Answer, least: int) -> None:
        said = answer.json()
        if said["user"] != self.name:
            self.wrong.append(f"is the session of {said['user']}")
        if not least <= said["visits"] <= self._begun:
            self.wrong.append(f"{said['visits']} visits, of {least} to {self._begun} begun")


def _body(operation: str) -> bytes:
    return json.dumps({"op": operation}).encode()
