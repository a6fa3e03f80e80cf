"""How long a logout takes to close the session's own stream."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from lab.client import Client
from lab.streams.stream import ClientStream, request_to
from lab.visitors import Visitor, Visitors

WAIT_SECONDS = 10.0


class _Watcher:
    """Waits for one stream to open and to end."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.status: asyncio.Future[int] = loop.create_future()
        self.lost_at: asyncio.Future[float] = loop.create_future()

    def opened(self, stream: ClientStream) -> None:
        self.status.set_result(200)

    def refused(self, stream: ClientStream, status: int) -> None:
        self.status.set_result(status)

    def received(self, stream: ClientStream, event: str, data: str) -> None:
        pass

    def lost(self, stream: ClientStream) -> None:
        self.lost_at.set_result(asyncio.get_running_loop().time())


async def logout_seconds(url: str, client: Client, visitors: Visitors, visitor: Visitor) -> float:
    """From asking for a logout until the stream's connection is closed.

    Infinite when that takes longer than WAIT_SECONDS, or when no stream could be opened.
    """
    parts, watcher = urlsplit(url), _Watcher()
    loop = asyncio.get_running_loop()
    stream = ClientStream(watcher, request_to(parts.netloc), visitor.cookie)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await loop.create_connection(lambda: stream, parts.hostname or "", parts.port or 80)
            if await watcher.status != 200:
                return float("inf")
            begin = loop.time()
            await visitors.log_out(client, [visitor])
            return await watcher.lost_at - begin
    except TimeoutError:
        return float("inf")
    finally:
        stream.close()
