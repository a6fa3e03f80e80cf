"""Script calls issued in one turn of the event loop leave in one write, or in a few on a busy turn.

A round trip of its own costs a worker more than the rest of a small request does.  Many requests of a
busy worker are waiting at the same moment, so what they ask for is collected until the loop comes
round and sent together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .calls import Call, Command, Request, Script
from .cluster import ClusterLink, is_cluster
from .server import ServerLink


class Link(Protocol):
    """A way to Redis: settles every call it is given, within the time limit.

    So many calls as `most_a_write` do not wait for the loop to come round.
    """

    most_a_write: int

    def send(self, calls: list[Call]) -> None: ...
    async def close(self) -> None: ...


class Pipeline:
    """The one way from the session engine to Redis.  No call is ever sent a second time."""

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float,
        observe: Callable[[float], object] | None = None,
    ) -> None:
        """Connects on first use.  `observe` is told the seconds that each write took to be answered.

        `url` is redis://, rediss:// or unix://, or redis+cluster:// or rediss+cluster:// with one
        node of a Redis Cluster.  Raises ValueError for anything else.
        """
        make: Callable[..., Link] = ClusterLink if is_cluster(url) else ServerLink
        self._link: Link = make(url, timeout_seconds, observe)
        self._waiting: list[Call] = []

    def run(self, script: Script, keys: Sequence[str], args: Command) -> asyncio.Future[Any]:
        """The script's answer, as `send` gives it."""
        return self.send(Request(script, keys, args))

    def send(self, request: Request) -> asyncio.Future[Any]:
        """The request's answer, to be awaited at once.

        Raises StoreUnavailable at the time limit or when Redis cannot serve, and ScriptError when
        the script itself failed.  Cancelling the wait leaves every other call intact.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._flush)
        self._waiting.append(Call(request, answer))
        if len(self._waiting) == self._link.most_a_write:
            self._flush()
        return answer

    async def close(self) -> None:
        """Close the connections; calls still waiting fail."""
        self._flush()
        await self._link.close()

    def _flush(self) -> None:
        calls, self._waiting = self._waiting, []
        if calls:
            self._link.send(calls)
