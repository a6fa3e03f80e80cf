"""The one subscription of this process: hears any number of Redis channels over a single connection.

Redis keeps nothing for who is away.  So each time a channel is joined, after an outage too, the
listener is told, and looks for itself at what it may have missed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import socket
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import RedisError

from .cluster import SCHEMES, is_cluster

# How the kernel finds out that the other end has gone without a word, where it can: asked after 5 s of
# silence, given up 15 s later.  A PING of our own would cost Redis a command each time.
KEEPALIVE = {
    "TCP_KEEPIDLE": 5,  # seconds
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 15_000,  # milliseconds
}
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
        """`url` as the Pipeline takes it.  Of a cluster any node will do: it hears all of them."""
        scheme, colon, rest = url.partition(":")
        self._is_cluster = is_cluster(url)
        self._address: dict[str, Any] = dict(parse_url(SCHEMES.get(scheme, scheme) + colon + rest))
        self._nodes: list[tuple[str, int]] = []  # of a cluster, to go on when one of them dies
        self._timeout_seconds = timeout_seconds
        self._channels: set[str] = set()
        self._news: dict[str, bool] = {}  # channel -> join or leave, not yet said to Redis
        self._wake = asyncio.Event()
        self._linked = False  # a connection stands
        self.hears = False  # and Redis has confirmed a channel on it

    def join(self, channel: str) -> None:
        self._channels.add(channel)
        self._tell(channel, joining=True)

    def leave(self, channel: str) -> None:
        self._channels.discard(channel)
        self._tell(channel, joining=False)

    async def run(self, listener: Listener) -> None:
        """Hear until cancelled; a lost connection is made anew."""
        complained = False
        while True:
            try:
                await self._converse(listener)
            except (RedisError, OSError, TimeoutError) as error:
                if self.hears or not complained:
                    log.warning("notices of other workers are not heard: %s", error)
                complained = True
            self.hears = False
            if self._nodes:
                self._address["host"], self._address["port"] = random.choice(self._nodes)
            await asyncio.sleep(random.uniform(*AGAIN_SECONDS))

    def _tell(self, channel: str, *, joining: bool) -> None:
        if self._linked:  # otherwise the next connection begins with all of them
            self._news[channel] = joining
            self._wake.set()

    async def _converse(self, listener: Listener) -> None:
        """One connection, from its beginning to its loss."""
        connection = self._connection()
        speaking: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await connection.connect()
                if self._is_cluster:
                    await self._learn_nodes(connection)
            self._linked = True
            self._news = dict.fromkeys(self._channels, True)
            self._wake.set()
            speaking = asyncio.create_task(self._speak(connection))
            while True:
                # No name for the answer: it would be held until the next one comes.
                self._take(
                    await connection.read_response(disable_decoding=True, timeout=math.inf),
                    listener,
                )
        finally:
            self._linked = False
            if speaking is not None:
                speaking.cancel()
                await asyncio.gather(speaking, return_exceptions=True)
            await connection.disconnect(nowait=True)

    def _take(self, answer: Any, listener: Listener) -> None:
        """Pass on a message, or the word that from now on there will be some."""
        match answer:
            case [b"message", channel, message]:
                listener.heard(channel.decode(), message)
            case [b"subscribe", channel, _]:
                self.hears = True
                listener.joined(channel.decode())

    async def _speak(self, connection: AbstractConnection) -> None:
        """Send what is to be joined and left."""
        while self._linked:
            await self._wake.wait()
            self._wake.clear()
            await self._say_news(connection)

    async def _say_news(self, connection: AbstractConnection) -> None:
        """Apart, so that the names of channels are not held until there is news again."""
        news, self._news = self._news, {}
        for joining, command in ((True, "SUBSCRIBE"), (False, "UNSUBSCRIBE")):
            channels = (channel for channel, joins in news.items() if joins is joining)
            for some in _portions(channels):
                await connection.send_command(command, *some, check_health=False)

    async def _learn_nodes(self, connection: AbstractConnection) -> None:
        await connection.send_command("CLUSTER", "SLOTS")
        ranges = await connection.read_response(disable_decoding=True)
        nodes = {(host.decode(), int(port)) for _, _, *nodes in ranges for host, port, *_ in nodes}
        self._nodes = sorted((host or str(self._address["host"]), port) for host, port in nodes)

    def _connection(self) -> AbstractConnection:
        kind = self._address.get("connection_class", Connection)
        settings = {key: self._address[key] for key in self._address if key != "connection_class"}
        settings |= {
            "protocol": 2,
            "socket_connect_timeout": self._timeout_seconds,
            "socket_timeout": None,  # silence is normal
        }
        if "path" not in settings:
            known = {name: seconds for name, seconds in KEEPALIVE.items() if hasattr(socket, name)}
            settings["socket_keepalive"] = True
            settings["socket_keepalive_options"] = {
                getattr(socket, name): known[name] for name in known
            }
        connection: AbstractConnection = kind(**settings)
        return connection


def _portions(channels: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(channels)
    while some := list(islice(remaining, CHANNELS_A_COMMAND)):
        yield some
