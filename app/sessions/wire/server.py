"""One Redis server, reached over one connection that carries every call of a worker.

redis-py's asynchronous connection spends more on each command than this whole engine may, and its
defaults repeat writes; so the connection is our own: hiredis packs and parses, calls are answered in
the order they were sent, one timer watches the oldest, and nothing is repeated.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from hiredis import ProtocolError, Reader, pack_command
from redis.asyncio.connection import SSLConnection, parse_url

from .calls import Call, Command

_NOT_YET = object()
Observe = Callable[[float], object] | None


class _Refused(Exception):
    """An error answer of Redis."""


class ServerLink:
    """Keeps a connection to the server at a URL, and makes a new one when it is lost."""

    # Redis works on these while the worker reads the next requests, where one large write would have
    # each of them wait for the other.  Smaller writes cost more system calls than that saves
    # (`make bench`, with 32 requests at once: 7 % slower without a limit, 3 % slower with 4 a write).
    most_a_write = 16

    def __init__(self, url: str, timeout_seconds: float, observe: Observe = None) -> None:
        self._address: dict[str, Any] = dict(parse_url(url))
        self._timeout_seconds = timeout_seconds
        self._observe = observe
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._held: list[Call] = []  # until the connection stands

    def send(self, calls: list[Call]) -> None:
        if self._connection is not None and self._connection.usable:
            self._connection.send(calls)
            return
        self._held += calls
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def close(self) -> None:
        if self._connecting is not None:
            await self._connecting
        if self._connection is not None:
            self._connection.close("the worker is stopping")

    async def _connect(self) -> None:
        """Open the connection within the time limit, or fail what waited for it: nothing was sent."""
        reason = ""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                self._connection = await self._open()
            if not self._connection.usable:
                reason = "the connection to Redis was lost at once"
        except TimeoutError:
            reason = f"no connection to Redis within {self._timeout_seconds:g} s"
        except OSError as error:
            reason = f"no connection to Redis: {error}"
        self._connecting = None
        held, self._held = self._held, []
        if not reason and self._connection is not None:
            self._connection.send(held)
        for call in held if reason else ():
            call.fail(reason, may_have_happened=False)

    async def _open(self) -> _Connection:
        loop, address = asyncio.get_running_loop(), self._address

        def protocol() -> _Connection:
            return _Connection(self._timeout_seconds, self._observe)

        if "path" in address:
            _, connection = await loop.create_unix_connection(protocol, address["path"])
        else:
            _, connection = await loop.create_connection(
                protocol,
                address.get("host", "localhost"),
                address.get("port", 6379),
                ssl=self._tls(),
            )
        try:
            await connection.greet(self._greeting())
        except BaseException:
            connection.close("the greeting failed")
            raise
        return connection

    def _greeting(self) -> list[Command]:
        """Log in and choose the database, where the URL says so."""
        commands: list[Command] = []
        user, password = self._address.get("username"), self._address.get("password")
        if password:
            commands.append(("AUTH", user, password) if user else ("AUTH", password))
        if self._address.get("db"):
            commands.append(("SELECT", self._address["db"]))
        return commands

    def _tls(self) -> ssl.SSLContext | None:
        """For rediss://.  `?ssl_ca_certs=FILE` names the authority; the host name is always checked."""
        if self._address.get("connection_class") is not SSLConnection:
            return None
        return ssl.create_default_context(cafile=self._address.get("ssl_ca_certs"))


class _Connection(asyncio.Protocol):
    """A connection that stands: calls go out in one write, answers come back in their order."""

    def __init__(self, timeout_seconds: float, observe: Observe) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_seconds = timeout_seconds
        self._observe = observe
        self._reader = Reader(replyError=_Refused, notEnoughData=_NOT_YET)
        self._unanswered: deque[Call] = deque()
        self._greeted: asyncio.Future[None] | None = None
        self._greetings = 0  # answers to the greeting that are still to come
        self._watch: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    @property
    def usable(self) -> bool:
        return self._transport is not None

    async def greet(self, commands: list[Command]) -> None:
        """Send what comes before the first call.  Raises OSError with the reason when it is refused."""
        if commands and self._transport is not None:
            self._greetings = len(commands)
            self._greeted = self._loop.create_future()
            self._transport.write(b"".join(map(pack_command, commands)))  # type: ignore[arg-type]
            await self._greeted

    def send(self, calls: list[Call]) -> None:
        self._write(calls, [call.request.packed for call in calls])

    def close(self, reason: str) -> None:
        """Break off: what was sent and not answered may have happened."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        if self._watch is not None:
            self._watch.cancel()
        if self._greeted is not None and not self._greeted.done():
            self._greeted.set_exception(OSError(reason))
        while self._unanswered:
            self._unanswered.popleft().fail(reason, may_have_happened=True)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(f"the connection to Redis was lost{f': {exc}' if exc else ''}")

    def data_received(self, data: bytes) -> None:
        try:
            self._take_answers(data)
        except (ProtocolError, IndexError):  # no Redis there, or an answer that nobody asked for
            self.close("what answers there does not speak as Redis does")

    def _take_answers(self, data: bytes) -> None:
        self._reader.feed(data)
        unknown: list[Call] = []
        sent_at = 0.0
        while (answer := self._reader.gets()) is not _NOT_YET:
            if self._greetings:
                self._note_greeting(answer)
                continue
            call = self._unanswered.popleft()
            sent_at = call.sent_at
            if type(answer) is not _Refused:
                if not call.answer.done():  # nobody waits where the request was cancelled
                    call.answer.set_result(answer)
            elif str(answer).startswith("NOSCRIPT"):
                unknown.append(call)
            else:
                call.settle(answer)
        if sent_at and self._observe is not None:
            self._observe(self._loop.time() - sent_at)
        if unknown and self.usable:
            # A restarted Redis knows no script by name, so these did not run: now in full.
            self._write(unknown, [pack_command(call.request.in_full()) for call in unknown])  # type: ignore[arg-type]

    def _note_greeting(self, answer: Any) -> None:
        self._greetings -= 1
        if self._greeted is None or self._greeted.done():
            return
        if isinstance(answer, _Refused):
            self._greeted.set_exception(OSError(str(answer)))
        elif not self._greetings:
            self._greeted.set_result(None)

    def _write(self, calls: list[Call], commands: list[bytes]) -> None:
        now = self._loop.time()
        for call in calls:
            call.sent_at = now
        self._unanswered.extend(calls)
        assert self._transport is not None
        self._transport.write(b"".join(commands))
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout_seconds, self._check_oldest)

    def _check_oldest(self) -> None:
        """Give up once the oldest call has waited for the time limit, else look again when it will have."""
        self._watch = None
        if not self._unanswered:
            return
        left = self._unanswered[0].sent_at + self._timeout_seconds - self._loop.time()
        if left <= 0.001:
            self.close(f"no answer from Redis within {self._timeout_seconds:g} s")
        else:
            self._watch = self._loop.call_later(left, self._check_oldest)
