"""An HTTP client that hides nothing: keep-alive connections, no retry, and each failure by its name."""

from __future__ import annotations

import asyncio
import json
import select
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import h11

ANSWER_SECONDS = (
    40.0  # above every timeout of nginx: what is given up is nginx's decision, not ours
)
READ_BYTES = 65536


@dataclass(frozen=True)
class Answer:
    """`status` 0: there was none, and `failure` says what came instead."""

    status: int
    failure: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One browser: its cookie, and the connections it keeps open for its next requests."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port or 80
        self._cookie = ""
        self._idle: list[Connection] = []

    async def send(self, method: str, path: str, body: bytes = b"", kind: str = "") -> Answer:
        """The answer, whatever it is; never raises for what the other side does."""
        connection = self._reusable()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                connection = connection or await Connection.open(self._host, self._port)
                answer = await connection.send(method, path, self._headers(body, kind), body)
        except (OSError, h11.RemoteProtocolError) as error:  # TimeoutError is an OSError
            if connection:
                connection.close()
            return Answer(0, type(error).__name__)
        if connection.is_reusable() and not self._idle:  # more than one are opened only when needed
            self._idle.append(connection)
        else:
            connection.close()
        self._cookie = answer.headers.get("set-cookie", self._cookie).partition(";")[0]
        return answer

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _reusable(self) -> Connection | None:
        """An open connection; one that the server has closed meanwhile is not, as in a browser."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed_by_server():
                return connection
            connection.close()
        return None

    def _headers(self, body: bytes, kind: str) -> list[tuple[str, str]]:
        headers = [("Host", f"{self._host}:{self._port}")]
        if self._cookie:
            headers.append(("Cookie", self._cookie))
        if body:
            headers += [("Content-Type", kind), ("Content-Length", str(len(body)))]
        return headers


class Connection:
    """One connection; h11 reads and writes the protocol."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._state = h11.Connection(h11.CLIENT)

    @classmethod
    async def open(cls, host: str, port: int) -> Connection:
        return cls(*await asyncio.open_connection(host, port))

    async def send(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes
    ) -> Answer:
        state = self._state
        parts = [h11.Request(method=method, target=path, headers=headers)]
        data = b"".join(state.send(part) or b"" for part in parts)
        data += (state.send(h11.Data(data=body)) or b"") if body else b""
        self._writer.write(data + (state.send(h11.EndOfMessage()) or b""))
        await self._writer.drain()
        return await self._read()

    async def _read(self) -> Answer:
        status, headers, body = 0, {}, b""
        while True:
            event = self._state.next_event()
            if event is h11.NEED_DATA:
                self._state.receive_data(await self._reader.read(READ_BYTES))
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return Answer(status, "", headers, body)
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError

    def is_reusable(self) -> bool:
        """Prepare for the next request, unless the answer said close."""
        if self._state.our_state is not h11.DONE or self._state.their_state is not h11.DONE:
            return False
        self._state.start_next_cycle()
        return True

    def is_closed_by_server(self) -> bool:
        """Asked of the kernel: the event loop may not have come round to it yet."""
        if self._writer.is_closing() or self._reader.at_eof() or self._reader.exception():
            return True
        poll = select.poll()
        poll.register(self._writer.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        self._writer.close()
