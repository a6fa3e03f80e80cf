"""How long a logout takes to close the session's own stream."""

import asyncio
from urllib.parse import urlsplit

from lab.client import Client
from lab.streams.logins import log_in, log_out
from lab.streams.stream import Stream, request_to

WAIT_SECONDS = 10.0


class _Watcher:
    """Waits for one stream to open and to end."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.is_open: asyncio.Future[int] = loop.create_future()
        self.is_lost: asyncio.Future[float] = loop.create_future()

    def opened(self, stream: Stream) -> None:
        self.is_open.set_result(200)

    def refused(self, stream: Stream, status: int) -> None:
        self.is_open.set_result(status)

    def heard(self, stream: Stream, event: str, data: str) -> None:
        pass

    def lost(self, stream: Stream) -> None:
        self.is_lost.set_result(asyncio.get_running_loop().time())


async def logout_seconds(url: str, client: Client, password: str) -> float:
    """From asking for a logout until the stream's connection is closed.

    Infinite when that takes longer than WAIT_SECONDS, or when no stream could be opened.
    """
    [cookie] = await log_in(client, password, 1)
    parts, watcher = urlsplit(url), _Watcher()
    loop = asyncio.get_running_loop()
    stream = Stream(watcher, request_to(parts.netloc), cookie)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await loop.create_connection(lambda: stream, parts.hostname or "", parts.port or 80)
            if await watcher.is_open != 200:
                return float("inf")
            begin = loop.time()
            await log_out(client, [cookie])
            return await watcher.is_lost - begin
    except TimeoutError:
        return float("inf")
    finally:
        stream.close()
