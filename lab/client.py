"""An HTTP/1.1 client for asyncio that hides nothing: keep-alive connections, no retry, no redirect.

docs/decisions.md says why it is not httpx.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import h11

READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response; headers have the names that the server wrote."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoAnswer(OSError):
    """The connection ended, or spoke something else than HTTP, before a whole answer was there."""


class Client:
    """Requests to one address, each on an idle connection or on a new one.

    It keeps at most `idle` connections for later requests; without a number, all of them.
    """

    def __init__(self, url: str, timeout_seconds: float = 20, idle: int | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._tls = parts.hostname or "", parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._name = parts.netloc
        self._timeout, self._most_idle = timeout_seconds, idle
        self._idle: list[_Connection] = []

    async def open(self, count: int) -> None:
        """Have that many connections open before the first request needs one."""
        self._idle += [await self._connect() for _ in range(count)]

    async def request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Answer:
        """Send once.  OSError, TimeoutError included: no answer came."""
        async with asyncio.timeout(self._timeout):
            connection = self._take() or await self._connect()
            try:
                answer = await connection.exchange(method, target, headers, body)
            except BaseException:
                connection.close()
                raise
        full = self._most_idle is not None and len(self._idle) >= self._most_idle
        if connection.prepare_next() and not full:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Close what is idle; no request may be under way."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> _Connection | None:
        """The connection that was used last; one that the server has closed is passed over, as in a browser."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed_by_server():
                return connection
            connection.close()
        return None

    async def _connect(self) -> _Connection:
        streams = await asyncio.open_connection(self._host, self._port, ssl=self._tls or None)
        return _Connection(*streams, self._name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class _Connection:
    """h11 reads and writes the protocol."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str
    ) -> None:
        self._reader, self._writer, self._host = reader, writer, host
        self._state = h11.Connection(h11.CLIENT)

    async def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        given = {"Host": self._host, **headers}
        if body:
            given["Content-Length"] = str(len(body))
        head = h11.Request(method=method, target=target, headers=list(given.items()))
        parts = [head, *([h11.Data(data=body)] if body else []), h11.EndOfMessage()]
        self._writer.write(b"".join(self._state.send(part) or b"" for part in parts))
        try:
            return await self._answer()
        except h11.ProtocolError as error:
            raise NoAnswer(str(error)) from error

    async def _answer(self) -> Answer:
        status, headers, body = 0, {}, b""
        while True:
            event = self._state.next_event()
            if event is h11.NEED_DATA:
                self._state.receive_data(await self._reader.read(READ_BYTES))
            elif isinstance(event, h11.Response):
                status = event.status_code
                raw = event.headers.raw_items()
                headers = {name.decode(): value.decode("latin-1") for name, value in raw}
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return Answer(status, headers, body)
            else:
                raise NoAnswer("the connection was closed")

    def prepare_next(self) -> bool:
        """Whether another request may follow."""
        if self._state.our_state is not h11.DONE or self._state.their_state is not h11.DONE:
            return False
        self._state.start_next_cycle()
        return True

    def is_closed_by_server(self) -> bool:
        """Asked of the kernel: the event loop may not have noticed yet."""
        if self._writer.is_closing() or self._reader.at_eof() or self._reader.exception():
            return True
        poll = select.poll()
        poll.register(self._writer.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        self._writer.close()
