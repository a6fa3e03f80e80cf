"""One event stream as a client holds it: server-sent events over HTTP/1.1 (WHATWG HTML, 9.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

LONGEST_LINE = 1 << 16


class Listener(Protocol):
    """What a stream tells its holder."""

    def opened(self, stream: ClientStream) -> None:
        """The server has answered with a stream."""

    def refused(self, stream: ClientStream, status: int) -> None:
        """The server has answered with something else; the connection is closed."""

    def received(self, stream: ClientStream, event: str, data: str) -> None:
        """One event."""

    def lost(self, stream: ClientStream) -> None:
        """The connection is gone, whoever closed it.  Called once, after all else."""


class ClientStream(asyncio.Protocol):
    """Sends the request when connected, then reads events until the connection ends.

    Chunk sizes and chunk ends are no field of an event, so as lines they are ignored; only the size
    of the last chunk, 0, matters: nginx keeps the connection open after a stream has ended.
    """

    __slots__ = (
        "_data",
        "_event",
        "_listener",
        "_request",
        "_rest",
        "_transport",
        "cookie",
        "retry_ms",
        "status",
    )

    def __init__(self, listener: Listener, request: Callable[[str], bytes], cookie: str) -> None:
        self.cookie = cookie
        self.status = 0
        self.retry_ms = 3000  # what browsers wait when a server has not said
        self._listener = listener
        self._request = request(cookie)
        self._rest = b""  # what has come of an unfinished line
        self._transport: asyncio.Transport | None = None
        self._event = self._data = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line.rstrip(b"\r"))
        if len(self._rest) > LONGEST_LINE:
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._listener.lost(self)

    def close(self) -> None:
        """End the stream from this side, at once."""
        if self._transport is not None:
            self._transport.abort()

    def _line(self, line: bytes) -> None:
        if not self.status:
            self._first_line(line)
        elif line.startswith(b"event:"):
            self._event = line[6:].strip().decode()
        elif line.startswith(b"data:"):
            self._data = line[5:].strip().decode()
        elif line.startswith(b"retry:"):
            self.retry_ms = int(line[6:])
        elif line == b"0":
            self.close()
        elif not line and self._event:
            event, data = self._event, self._data
            self._event = self._data = ""
            self._listener.received(self, event, data)

    def _first_line(self, line: bytes) -> None:
        parts = line.split()
        self.status = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 599
        if self.status == 200:
            self._listener.opened(self)
        else:
            self._listener.refused(self, self.status)
            self.close()


def request_to(netloc: str) -> Callable[[str], bytes]:
    """Makes the request of a stream from its cookie."""

    def request(cookie: str) -> bytes:
        head = f"GET /events HTTP/1.1\r\nHost: {netloc}\r\nAccept: text/event-stream\r\n"
        return f"{head}Cookie: {cookie}\r\n\r\n".encode()

    return request
