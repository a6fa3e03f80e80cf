"""The generator for machines without wrk: `python -m lab.cost.closed_loop URL COOKIES CONNECTIONS SECONDS`.

COOKIES is a file with one Cookie header a line.  The last line printed is JSON, as wrk.lua's.  It reads
no more of an answer than it must, as what it costs is taken from the worker on a small machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop

LENGTH, CLOSE = b"content-length: ", b"connection: close"


class Connections:
    """What the connections share: the requests, in turn, and the counts."""

    def __init__(self, url: str, cookies: list[str]) -> None:
        address = urlsplit(url)
        self.host, self.port = address.hostname or "", address.port or 80
        head = f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\n"
        self.requests: Iterator[bytes] = cycle(
            f"{head}Cookie: {cookie}\r\n\r\n".encode() for cookie in cookies
        )
        self.good = self.bad = 0
        self.over = False

    async def run(self, connections: int, seconds: float) -> dict[str, float]:
        """Keep so many busy for that long, and count the answers."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        opened = await asyncio.gather(*(self.open() for _ in range(connections)))
        while not self.good + self.bad:  # a busy machine may be late
            await asyncio.sleep(0.01)
        await asyncio.sleep(seconds)
        counted = {"good": self.good, "bad": self.bad, "seconds": loop.time() - began}
        self.over = True
        for connection in opened:
            connection.transport.abort()
        return counted

    async def open(self) -> Connection:
        connection = Connection(self)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: connection, self.host, self.port)
        return connection


class Connection(asyncio.Protocol):
    """Always with one request under way; opened again when an answer says that the server closes it."""

    def __init__(self, shared: Connections) -> None:
        self._shared = shared
        self._read = b""
        self._closes = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(next(self._shared.requests))

    def data_received(self, data: bytes) -> None:
        self._read += data
        end = self._read.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._read[:end].lower() + b"\r"
        at = head.find(LENGTH) + len(LENGTH)
        if len(self._read) < end + 4 + int(head[at : head.find(b"\r", at)]):
            return
        if self._read.startswith(b"HTTP/1.1 200 "):
            self._shared.good += 1
        else:
            self._shared.bad += 1
        self._read = b""
        self._closes = CLOSE in head
        if not self._closes:
            self.transport.write(next(self._shared.requests))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._closes and not self._shared.over:
            self._again = asyncio.ensure_future(self._shared.open())
        elif not self._shared.over:
            self._shared.bad += 1


if __name__ == "__main__":
    url, file, connections, seconds = sys.argv[1:]
    shared = Connections(url, Path(file).read_text().splitlines())
    print(json.dumps(uvloop.run(shared.run(int(connections), float(seconds)))))
