"""The way to one Redis server: one connection for every call of a worker, made anew when it is lost.

redis-py's asynchronous connection spends more on each command than this whole engine may, and its
defaults repeat writes; docs/decisions.md has the figures.  So the connection is our own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from .address import Address, Place
from .calls import Call
from .connection import C, connect
from .exchange import Exchange, Refusal

AGAIN_SECONDS = 0.1  # between two tries to connect, at least; calls wait that long

Open = Callable[[], Awaitable[Exchange]]


class ServerLink:
    """Keeps the connection that `open_exchange` opens, which looks the server up each time.

    `where` names it in errors.  `unreachable` is told of each call that could not be sent, and why.
    """

    def __init__(
        self,
        open_exchange: Open,
        where: str,
        timeout_seconds: float,
        unreachable: Refusal | None = None,
    ) -> None:
        self._open = open_exchange
        self._where = where
        self._timeout_seconds = timeout_seconds
        self._unreachable = unreachable or _fail
        self._exchange: Exchange | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._not_before = 0.0  # seconds of the event loop's clock
        self._held: list[Call] = []  # until the connection stands

    def send(self, calls: list[Call]) -> None:
        if self._exchange is not None and self._exchange.usable:
            self._exchange.send(calls)
            return
        self._held += calls
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def retire(self, reason: str) -> None:
        """Use the connection for no further call: the server should be looked up again."""
        if self._exchange is not None:
            self._exchange.retire(reason)

    async def tags(self) -> list[str]:
        """Hash tags of which one leads to each node: there is one."""
        return ["0"]

    async def close(self) -> None:
        if self._connecting is not None:
            await self._connecting
        if self._exchange is not None:
            self._exchange.close("the worker is stopping")

    async def _connect(self) -> None:
        """Open the connection within the time limit, or give up what waited for it: nothing was sent."""
        loop = asyncio.get_running_loop()
        if (wait := self._not_before - loop.time()) > 0:
            await asyncio.sleep(wait)
        self._not_before = loop.time() + AGAIN_SECONDS
        reason = "the connection to Redis was lost at once"
        try:
            async with asyncio.timeout(self._timeout_seconds):
                self._exchange = await self._open()
        except TimeoutError:
            reason = (
                f"no connection to Redis: {self._where} is silent for {self._timeout_seconds:g} s"
            )
        except Exception as error:  # whatever it is: those who wait must be told
            reason = f"no connection to Redis: {error}"
        self._connecting = None
        held, self._held = self._held, []
        if self._exchange is not None and self._exchange.usable:
            self._exchange.send(held)
            return
        for call in held:
            self._unreachable(call, reason)


class Master:
    """The one server of an address, or the master that its Sentinels name; `moved` is as Sentinels have it."""

    def __init__(
        self,
        address: Address,
        timeout_seconds: float,
        moved: Callable[[], None],
        *,
        majority: bool = False,
    ) -> None:
        self._address = address
        self._sentinels = None
        if address.scheme == "redis+sentinel":
            from .sentinel import Sentinels  # most URLs name none

            self._sentinels = Sentinels(address, timeout_seconds, moved, majority=majority)

    async def connected(self, make: Callable[[], C]) -> C:
        """What `make` makes, connected to it."""

        async def open_to(place: Place | None) -> C:
            return await connect(make(), self._address, place, as_master=True)

        if self._sentinels is None:
            return await open_to(next(iter(self._address.hosts), None))
        return await self._sentinels.connected(open_to)

    async def close(self) -> None:
        if self._sentinels is not None:
            await self._sentinels.close()


def _fail(call: Call, reason: str) -> None:
    call.fail(reason, may_have_happened=False)
