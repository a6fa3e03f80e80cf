"""Script calls issued in one turn of the event loop leave in one write, or in a few on a busy turn.

A round trip of its own costs a worker more than the rest of a small request does.  Many requests of a
busy worker are waiting at the same moment, so what they ask for is collected until the loop comes
round and sent together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .address import read_address
from .calls import Call, Command, Request, Script
from .exchange import AcknowledgedExchange, Exchange, Refusal
from .server import Master, ServerLink

# Redis works on these while the worker reads the next requests, where one large write would have each of
# them wait for the other.  Smaller writes cost more system calls than that saves (`make bench`, with 32
# requests at once: 7 % slower without a limit, 3 % slower with 4 a write).
MOST_A_WRITE = 16


class Link(Protocol):
    """A way to Redis: settles every call it is given, within the time limit."""

    def send(self, calls: list[Call]) -> None: ...
    def retire(self, reason: str) -> None: ...
    async def tags(self) -> list[str]: ...
    async def close(self) -> None: ...


@dataclass(slots=True, eq=False)
class Outbox:
    """Calls of this turn that have not left yet."""

    link: Link
    waiting: list[Call] = field(default_factory=list)

    def flush(self) -> None:
        calls, self.waiting = self.waiting, []
        if calls:
            self.link.send(calls)


class Pipeline:
    """The one way from the session engine to Redis.  No call that may have run is sent again."""

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float,
        observe: Callable[[float], object] | None = None,
        acknowledged_by: int = 0,
    ) -> None:
        """Connects on first use.  `observe` is told the seconds that each write took to be answered.

        `url` is as in address.py; raises BadAddress, a ValueError.  Above 0, `acknowledged_by` has the
        answer of each script that is `acknowledged` wait until so many replicas have what it wrote.
        """
        self._address = read_address(url)
        self._timeout_seconds = timeout_seconds
        self._observe = observe
        # What its connections run beside scripts by name, each command with arguments.
        self.uses = ["EVAL - 0", *(["WAIT 1 1"] if acknowledged_by else [])]
        self.uses += ["ASKING"] if self._address.scheme == "redis+cluster" else []
        majority = acknowledged_by > 0  # a promise of a master that is cut off is worth nothing
        self._master = Master(self._address, timeout_seconds, self._follow, majority=majority)
        self._plain = Outbox(self._make_link(0))
        self._acknowledged = self._plain
        if acknowledged_by:
            self._acknowledged = Outbox(self._make_link(acknowledged_by))

    def run(self, script: Script, keys: Sequence[str], args: Command) -> asyncio.Future[Any]:
        """The script's answer, as `send` gives it."""
        return self.send(Request(script, keys, args))

    def send(self, request: Request) -> asyncio.Future[Any]:
        """The request's answer, to be awaited at once.

        Raises StoreUnavailable at the time limit or when Redis cannot serve, and its ScriptError when
        the script itself failed.  Cancelling the wait leaves every other call intact.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        outbox = self._plain
        if outbox is not self._acknowledged and request.script.acknowledged:
            outbox = self._acknowledged
        if not outbox.waiting:
            loop.call_soon(outbox.flush)
        outbox.waiting.append(Call(request, answer))
        if len(outbox.waiting) == MOST_A_WRITE:
            outbox.flush()
        return answer

    async def tags(self) -> list[str]:
        """Hash tags, as in `session:{tag}:`, of which one leads to each node.  Raises StoreUnavailable."""
        return await self._plain.link.tags()

    async def close(self) -> None:
        """Close the connections; calls still waiting fail."""
        for outbox in {self._plain, self._acknowledged}:
            outbox.flush()
            await outbox.link.close()
        await self._master.close()

    def _make_link(self, replicas: int) -> Link:
        def exchange(refused: Refusal = Call.refuse) -> Exchange:
            if replicas:
                return AcknowledgedExchange(replicas, self._timeout_seconds, self._observe, refused)
            return Exchange(self._timeout_seconds, self._observe, refused)

        async def open_exchange() -> Exchange:
            return await self._master.connected(exchange)

        if self._address.scheme == "redis+cluster":
            from .cluster import ClusterLink  # most URLs name none

            return ClusterLink(self._address, exchange, self._timeout_seconds)
        return ServerLink(open_exchange, self._address.where, self._timeout_seconds)

    def _follow(self) -> None:
        """The master has moved, or is about to: further calls take new connections."""
        for outbox in (self._plain, self._acknowledged):
            outbox.link.retire("the master has moved")
