"""A browser's side of an event stream: opens one at a worker and keeps what it hears."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from app.settings import COOKIE_NAME
from lab.testbed.workers import Worker
from tests.integration.visitor import Visitor

SOON_SECONDS = 1.0  # what the pages promise


class Stream:
    """`async with Stream(visitor, worker) as stream:`; ends with the block or when the worker ends it."""

    def __init__(self, visitor: Visitor, worker: Worker) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.beats = 0
        self.ended_at: float | None = None  # by time.monotonic, when the response was over
        self._visitor = visitor
        self._worker = worker
        self._news = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Stream:
        self._reading = asyncio.create_task(self._read())
        await self.until(lambda: self.status not in (0, 200) or self.named("hello") != [])
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._reading is not None
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    def named(self, name: str) -> list[dict[str, Any]]:
        """The data of all events of that name so far."""
        return [data for known, data in self.events if known == name]

    async def until(self, fact: Any, seconds: float = 5) -> None:
        """Return as soon as `fact` holds; fails when it does not in time."""
        async with asyncio.timeout(seconds):
            while not fact():
                self._news.clear()
                await self._news.wait()

    async def over(self, seconds: float = SOON_SECONDS) -> str:
        """The reason for the end, which has to come within `seconds`, and the response has to end."""
        await self.until(lambda: self.ended_at is not None, seconds)
        (last,) = self.named("ended")
        assert self.events[-1] == ("ended", last)
        return str(last["reason"])

    async def _read(self) -> None:
        headers = {"Cookie": f"{COOKIE_NAME}={self._visitor.cookie}"}
        url = self._worker.url + "/events"
        async with self._visitor.http.stream("GET", url, headers=headers, timeout=30) as answer:
            self.status, self.headers = answer.status_code, dict(answer.headers)
            name = ""
            async for line in answer.aiter_lines():
                key, _, value = line.partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    self.events.append((name, json.loads(value)))
                self.beats += line == ":"
                self._news.set()
        self.ended_at = time.monotonic()  # only a response that ended as HTTP ends one comes here
        self._news.set()
