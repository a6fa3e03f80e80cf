"""One connection to one Redis server: opened, kept alive, logged in; questions and answers in order."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from hiredis import ProtocolError, Reader

from .address import Address, Place
from .calls import Command, pack

# How the kernel finds out that the other end has gone without a word, and keeps a load balancer from
# forgetting a silent connection: asked after 5 s of silence, given up 15 s later.
KEEPALIVE = {
    "TCP_KEEPIDLE": 5,  # seconds
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 15_000,  # milliseconds
}
NOT_YET = object()
C = TypeVar("C", bound="Connection")


class Refused(Exception):
    """An error answer of Redis; its text begins with the error's code."""


class Lost(OSError):
    """The connection is not there any more, or what answers is not as Redis answers."""


class Connection(asyncio.Protocol):
    """Answers go to `ask` while it waits for some, else to `take`."""

    def __init__(self) -> None:
        self.reader = Reader(replyError=Refused, notEnoughData=NOT_YET)
        self._transport: asyncio.Transport | None = None
        self._asked: asyncio.Future[list[Any]] | None = None
        self._answers: list[Any] = []
        self._still = 0  # answers to `ask` that are to come

    @property
    def stands(self) -> bool:
        return self._transport is not None

    def take(self) -> None:
        """Take answers from `reader` until it says NOT_YET; IndexError for one that nobody asked for."""
        if self.reader.gets() is not NOT_YET:
            raise IndexError

    def lost(self, reason: str) -> None:
        """Called once, when the connection has ended."""

    async def ask(self, *commands: Command) -> list[Any]:
        """The answers to these commands; errors among them are Refused.  Raises Lost."""
        self._asked = asyncio.get_running_loop().create_future()
        self._answers, self._still = [], len(commands)
        asked = self._asked
        self.write(b"".join(map(pack, commands)))
        return await asked

    def write(self, data: bytes) -> None:
        """Send.  Raises Lost on a connection that has ended."""
        if self._transport is None:
            raise Lost("the connection to Redis was lost")
        self._transport.write(data)

    def close(self, reason: str) -> None:
        """Break off.  Whoever waits for an answer is told the reason."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        transport.abort()
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(Lost(reason))
        self.lost(reason)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        end = transport.get_extra_info("socket")
        if end.family != socket.AF_UNIX:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEPALIVE.items():
                if hasattr(socket, name):
                    end.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(f"the connection to Redis was lost{f': {exc}' if exc else ''}")

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        try:
            if self._asked is not None:
                self._note_asked(self._asked)
            if self._asked is None:
                self.take()
        except (ProtocolError, IndexError):  # no Redis there, or an answer that nobody asked for
            self.close("what answers there does not speak as Redis does")

    def _note_asked(self, asked: asyncio.Future[list[Any]]) -> None:
        while self._still and (answer := self.reader.gets()) is not NOT_YET:
            self._answers.append(answer)
            self._still -= 1
        if not self._still:
            self._asked = None
            if not asked.done():  # whoever asked has waited long enough
                asked.set_result(self._answers)


class Receiver(Connection):
    """A connection on which messages arrive: each goes to `received`.  `ended` has the reason of its end."""

    def __init__(self, received: Callable[[Any], None]) -> None:
        super().__init__()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._received = received

    def take(self) -> None:
        while (answer := self.reader.gets()) is not NOT_YET:
            if isinstance(answer, Refused):
                self.close(str(answer))
                return
            self._received(answer)

    def lost(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)


async def connect(
    connection: C, address: Address, place: Place | None, *, as_master: bool = False
) -> C:
    """Open `connection`, to `place` or to the socket file of `address`, and log in.

    With `as_master` a server that is none is refused.  Raises OSError with the place and the reason; how
    long it may take is for the caller to say.
    """
    loop = asyncio.get_running_loop()
    where = address.path if place is None else f"{place[0]}:{place[1]}"
    try:
        if place is None:
            await loop.create_unix_connection(lambda: connection, address.path)
        else:
            await loop.create_connection(lambda: connection, *place, ssl=address.tls)
        greeting: list[Command] = [("AUTH", *address.login)] if address.login else []
        greeting += [("SELECT", address.database)] if address.database else []
        greeting += [("ROLE",)] if as_master else []
        answers = await connection.ask(*greeting) if greeting else []
        _check_greeting(answers, as_master)
    except (OSError, ValueError) as error:  # ValueError: a host name that cannot be looked up
        connection.close("the greeting failed")
        reason = getattr(error, "strerror", None) or error  # without a system call's number
        raise OSError(f"{where}: {reason}") from error
    except BaseException:
        connection.close("the greeting failed")
        raise
    return connection


def _check_greeting(answers: Sequence[Any], as_master: bool) -> None:
    for answer in answers:
        if isinstance(answer, Refused):
            raise OSError(str(answer))
    if as_master and answers[-1][:1] != [b"master"]:
        raise OSError("the server there is not a master: ROLE says slave")
