"""The generator for machines without wrk: `python -m lab.cost.closed_loop URL COOKIES CONNECTIONS SECONDS`.

COOKIES is a file with one Cookie header a line.  The last line printed is JSON, as wrk.lua's.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop

LENGTH = b"Content-Length: "


class Client(asyncio.Protocol):
    """One connection, always with one request under way."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self.requests = requests
        self.good = self.bad = 0
        self._read = b""

    @property
    def answered(self) -> int:
        return self.good + self.bad

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(next(self.requests))

    def data_received(self, data: bytes) -> None:
        self._read += data
        head = self._read.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._read.find(LENGTH, 0, head) + len(LENGTH)
        if len(self._read) < head + 4 + int(self._read[at : self._read.find(b"\r", at)]):
            return
        if self._read.startswith(b"HTTP/1.1 200 "):
            self.good += 1
        else:
            self.bad += 1
        self._read = b""
        self.transport.write(next(self.requests))

    def connection_lost(self, exc: Exception | None) -> None:
        self.bad += exc is not None


async def run(url: str, cookies: list[str], connections: int, seconds: float) -> dict[str, float]:
    """Keep `connections` busy for that long, and count the answers."""
    address = urlsplit(url)
    requests = cycle([_request(address.netloc, address.path, cookie) for cookie in cookies])
    loop = asyncio.get_running_loop()
    clients = [Client(requests) for _ in range(connections)]
    began = loop.time()
    for client in clients:
        await loop.create_connection(
            partial(_itself, client), address.hostname or "", address.port or 80
        )
    while not any(client.answered for client in clients):  # a busy machine may be late
        await asyncio.sleep(0.01)
    await asyncio.sleep(seconds)
    counted = {
        "good": sum(client.good for client in clients),
        "bad": sum(client.bad for client in clients),
        "seconds": loop.time() - began,
    }
    for client in clients:
        client.transport.abort()
    return counted


def _itself(client: Client) -> Client:
    return client


def _request(host: str, path: str, cookie: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n".encode()


if __name__ == "__main__":
    url, cookies, connections, seconds = sys.argv[1:]
    lines = Path(cookies).read_text().splitlines()
    print(json.dumps(uvloop.run(run(url, lines, int(connections), float(seconds)))))
