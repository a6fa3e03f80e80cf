"""The one subscription of this process: receives any number of Redis channels over a single connection.

Redis stores no message for a subscriber that is away.  So each time a channel is subscribed, after an
outage too, the listener is called, and checks for itself what it may have missed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from .address import Place, read_address
from .calls import pack
from .connection import Receiver, connect
from .server import Master

AGAIN_SECONDS = (0.2, 1.0)  # between tries, at random: workers must not all connect at once
CHANNELS_A_COMMAND = 1000

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Both are called in the event loop and must return at once."""

    def subscribed(self, channel: str) -> None:
        """From now on messages of this channel arrive; earlier ones do not."""

    def received(self, channel: str, message: bytes) -> None:
        """One message."""


class Subscription:
    """Subscribes to channels at once, or as soon as Redis answers; `run` keeps it connected."""

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        """`url` as the Pipeline takes it.  Any node of a cluster will do: each passes messages on to the others."""
        self._address = read_address(url)
        self._timeout_seconds = timeout_seconds
        self._nodes: list[Place] = list(self._address.hosts)  # of a cluster
        self._master = Master(self._address, timeout_seconds, self._follow)
        self._channels: set[str] = set()
        self._changes: dict[str, bool] = {}  # channel -> subscribe?, of this turn of the event loop
        self._receiver: Receiver | None = None  # on a connection that is open
        self.is_active = False  # and Redis has confirmed a channel on it
        self.on_loss: Callable[[], object] = lambda: None  # called when that ends

    def subscribe(self, channel: str) -> None:
        self._channels.add(channel)
        self._change(channel, subscribe=True)

    def unsubscribe(self, channel: str) -> None:
        self._channels.discard(channel)
        self._change(channel, subscribe=False)

    async def run(self, listener: Listener) -> None:
        """Receive until cancelled; a lost connection is replaced."""
        complained = False
        try:
            while True:
                try:
                    reason = await self._receive(listener)
                except (OSError, TimeoutError) as error:
                    reason = (
                        str(error) or f"no answer from Redis within {self._timeout_seconds:g} s"
                    )
                if self.is_active or not complained:
                    log.warning("messages of other workers do not arrive: %s", reason)
                complained = True
                if self.is_active:
                    self.is_active = False
                    self.on_loss()
                await asyncio.sleep(random.uniform(*AGAIN_SECONDS))
        finally:
            await self._master.close()

    def _change(self, channel: str, *, subscribe: bool) -> None:
        if self._receiver is None:  # the next connection begins with all of them
            return
        if not self._changes:
            asyncio.get_running_loop().call_soon(self._send_changes)
        self._changes[channel] = subscribe

    async def _receive(self, listener: Listener) -> str:
        """Use one connection until it is lost; returns the reason."""
        async with asyncio.timeout(self._timeout_seconds):
            self._receiver = receiver = await self._open(partial(self._received, listener))
        self._changes = dict.fromkeys(self._channels, True)
        self._send_changes()
        try:
            return await receiver.ended
        finally:
            self._receiver = None
            self._changes = {}
            receiver.close("no longer needed")

    async def _open(self, received: Callable[[Any], None]) -> Receiver:
        address = self._address
        if address.scheme != "redis+cluster":
            return await self._master.connected(partial(Receiver, received))
        from .slots import ask_slots  # most URLs name no cluster

        # Before each connection, as nodes may have been removed and added.
        known = list(dict.fromkeys([*self._nodes, *address.hosts]))
        self._nodes = (await ask_slots(address, known, self._timeout_seconds)).nodes
        return await connect(Receiver(received), address, random.choice(self._nodes))

    def _received(self, listener: Listener, answer: Any) -> None:
        match answer:
            case [b"message", channel, message]:
                listener.received(channel.decode(), message)
            case [b"subscribe", channel, _]:
                self.is_active = True
                listener.subscribed(channel.decode())

    def _follow(self) -> None:
        """The master has moved, or is about to."""
        if self._receiver is not None:
            self._receiver.close("the master has moved")

    def _send_changes(self) -> None:
        changes, self._changes = self._changes, {}
        if self._receiver is None or not self._receiver.stands:
            return
        for subscribe, command in ((True, "SUBSCRIBE"), (False, "UNSUBSCRIBE")):
            channels = [channel for channel, wanted in changes.items() if wanted is subscribe]
            for at in range(0, len(channels), CHANNELS_A_COMMAND):
                self._receiver.write(pack((command, *channels[at : at + CHANNELS_A_COMMAND])))
