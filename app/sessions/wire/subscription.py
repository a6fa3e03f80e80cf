"""The one subscription of this process: hears any number of Redis channels over a single connection.

Redis keeps nothing for who is away.  So each time a channel is joined, after an outage too, the
listener is told, and looks for itself at what it may have missed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Protocol

from .address import Place, read_address
from .calls import pack
from .connection import NOT_YET, Connection, Refused, connect
from .sentinel import Sentinels
from .slots import ask_slots

AGAIN_SECONDS = (0.2, 1.0)  # between tries, at random: workers must not all come at once
CHANNELS_A_COMMAND = 1000

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Both are called in the event loop and must return at once."""

    def joined(self, channel: str) -> None:
        """From now on messages of this channel are heard; earlier ones are not."""

    def heard(self, channel: str, message: bytes) -> None: ...


class Subscription:
    """Joins and leaves channels at once or as soon as Redis is there; `run` keeps it connected."""

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        """`url` as the Pipeline takes it.  Of a cluster any node will do: each passes on what others are told."""
        self._address = read_address(url)
        self._timeout_seconds = timeout_seconds
        self._nodes: list[Place] = list(self._address.hosts)  # of a cluster
        self._sentinels: Sentinels | None = None
        if self._address.scheme == "redis+sentinel":
            self._sentinels = Sentinels(self._address, timeout_seconds, self._follow)
        self._channels: set[str] = set()
        self._news: dict[str, bool] = {}  # channel -> join or leave, of this turn of the event loop
        self._ear: _Ear | None = None  # a connection that stands
        self.hears = False  # and Redis has confirmed a channel on it
        self.on_loss: Callable[[], object] = lambda: None  # called when that ends

    def join(self, channel: str) -> None:
        self._channels.add(channel)
        self._tell(channel, joining=True)

    def leave(self, channel: str) -> None:
        self._channels.discard(channel)
        self._tell(channel, joining=False)

    async def run(self, listener: Listener) -> None:
        """Hear until cancelled; a lost connection is made anew."""
        complained = False
        try:
            while True:
                try:
                    reason = await self._converse(listener)
                except (OSError, TimeoutError) as error:
                    reason = (
                        str(error) or f"no answer from Redis within {self._timeout_seconds:g} s"
                    )
                if self.hears or not complained:
                    log.warning("notices of other workers are not heard: %s", reason)
                complained = True
                if self.hears:
                    self.hears = False
                    self.on_loss()
                await asyncio.sleep(random.uniform(*AGAIN_SECONDS))
        finally:
            if self._sentinels is not None:
                await self._sentinels.close()

    def _tell(self, channel: str, *, joining: bool) -> None:
        if self._ear is None:  # the next connection begins with all of them
            return
        if not self._news:
            asyncio.get_running_loop().call_soon(self._say_news)
        self._news[channel] = joining

    async def _converse(self, listener: Listener) -> str:
        """One connection, from its beginning to its loss, whose reason is returned."""
        async with asyncio.timeout(self._timeout_seconds):
            self._ear = ear = await self._open(_Ear(listener, self._confirmed))
        self._news = dict.fromkeys(self._channels, True)
        self._say_news()
        try:
            return await ear.ended
        finally:
            self._ear = None
            self._news = {}
            ear.close("not listened to any more")

    async def _open(self, ear: _Ear) -> _Ear:
        address, as_master = self._address, self._address.scheme != "redis+cluster"
        place = next(iter(address.hosts), None)
        if self._sentinels is not None:
            place = await self._sentinels.master()
        elif not as_master:
            # Before each connection: a node that was known may have gone, and others have come.
            known = list(dict.fromkeys([*self._nodes, *address.hosts]))
            self._nodes = (await ask_slots(address, known, self._timeout_seconds)).nodes
            place = random.choice(self._nodes)
        return await connect(ear, address, place, as_master=as_master)

    def _confirmed(self) -> None:
        self.hears = True

    def _follow(self) -> None:
        """The master has moved, or is about to."""
        if self._ear is not None:
            self._ear.close("the master has moved")

    def _say_news(self) -> None:
        news, self._news = self._news, {}
        if self._ear is None or not self._ear.stands:
            return
        for joining, command in ((True, "SUBSCRIBE"), (False, "UNSUBSCRIBE")):
            channels = (channel for channel, joins in news.items() if joins is joining)
            for some in _portions(channels):
                self._ear.write(pack((command, *some)))


class _Ear(Connection):
    """A connection on which messages come, and the word that from now on there will be some."""

    def __init__(self, listener: Listener, confirmed: Callable[[], None]) -> None:
        super().__init__()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._listener = listener
        self._confirmed = confirmed

    def take(self) -> None:
        while (answer := self.reader.gets()) is not NOT_YET:
            match answer:
                case [b"message", channel, message]:
                    self._listener.heard(channel.decode(), message)
                case [b"subscribe", channel, _]:
                    self._confirmed()
                    self._listener.joined(channel.decode())
                case Refused():
                    self.close(str(answer))
                    return

    def lost(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)


def _portions(channels: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(channels)
    while some := list(islice(remaining, CHANNELS_A_COMMAND)):
        yield some
