"""One generator process: opens event streams, keeps them open, and reconnects those it loses.

    python -m lab.streams.pool URL SOURCE

Commands come as JSON lines on standard input, one answer each on standard output; the end of the
input ends the process. SOURCE is the address its connections come from, so that several processes
have a range of local ports each.
"""

from __future__ import annotations

import asyncio
import errno
import json
import random
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from lab.streams.stream import ClientStream, request_to

AT_ONCE = 250  # connections this process opens at the same time
ANSWER_SECONDS = 10.0  # from connecting until the server has said that it is a stream
BUCKET_SECONDS = 0.5
STALLED_SECONDS = 25.0  # longer than an answer may take, so that every stream had a second try
MOST_BACKOFF_SECONDS = 15.0  # after refusals; the server's own `retry` counts after a loss
IP_BIND_ADDRESS_NO_PORT = 24  # ip(7); the socket module has no name for it
KNOWN = {
    errno.EMFILE: "no file left in the generator",
    errno.EADDRNOTAVAIL: "no local port left",
    errno.ECONNREFUSED: "connection refused",
}


class StreamPool:
    """The streams of this process.  Everything happens in one event loop."""

    def __init__(self, url: str, source: str) -> None:
        parts = urlsplit(url)
        self._to = (parts.hostname or "", parts.port or 80)
        self._source = source
        self._request = request_to(parts.netloc)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: dict[ClientStream, asyncio.Future[int]] = {}
        self._open: set[ClientStream] = set()
        self._wanted = 0
        self._closing = False
        self._mark = ""
        self._received: list[int] = []
        self._tried: Counter[int] = Counter()  # connects by the moment they began
        self._connects: Counter[int] = Counter()  # those that became streams, by that moment
        self._refused: Counter[str] = Counter()
        self._lost = 0
        self._longest_away = 0.0

    # ---- what a stream tells

    def opened(self, stream: ClientStream) -> None:
        self._open.add(stream)
        self._connects[_bucket()] += 1
        self._answer(stream, 200)

    def refused(self, stream: ClientStream, status: int) -> None:
        self._answer(stream, status)

    def received(self, stream: ClientStream, event: str, data: str) -> None:
        if event == "alert" and self._mark and self._mark in data:
            self._received.append(time.monotonic_ns())

    def lost(self, stream: ClientStream) -> None:
        self._answer(stream, 0)
        if stream not in self._open:
            return
        self._open.discard(stream)
        self._lost += 1
        if not self._closing:
            again = self._keep(stream.cookie, stream.retry_ms / 1000, time.monotonic())
            self._start(again)

    # ---- commands

    async def open(self, cookies: list[str], seconds: float) -> dict[str, Any]:
        """Open one more stream for each cookie, and try again what fails, for so long at most."""
        begin = time.monotonic()
        await self.forget()
        self._wanted += len(cookies)
        for cookie in cookies:
            self._start(self._keep(cookie, 0, begin))
        return await self.settled(seconds)

    async def expect(self, mark: str) -> dict[str, Any]:
        """From now on note when each stream receives an alert that contains `mark`."""
        self._mark, self._received = mark, []
        return {}

    async def delivered(self, seconds: float) -> dict[str, Any]:
        """The moments, in ns of the monotonic clock; waits until every stream has received it."""
        await _until(lambda: len(self._received) >= len(self._open), seconds)
        return {"at": list(self._received), "open": len(self._open)}

    async def forget(self) -> dict[str, Any]:
        """Begin to count losses, refusals and connects anew."""
        self._tried.clear()
        self._connects.clear()
        self._refused.clear()
        self._lost = 0
        self._longest_away = 0.0
        return {}

    async def settled(self, seconds: float) -> dict[str, Any]:
        """Wait until all are open that should be, or none has been opened for a while; say what has happened."""
        opened, since = sum(self._connects.values()), time.monotonic()

        def settled() -> bool:
            nonlocal opened, since
            if (now := sum(self._connects.values())) != opened:
                opened, since = now, time.monotonic()
            stalled = time.monotonic() - since > STALLED_SECONDS
            return stalled or len(self._open) >= self._wanted

        await _until(settled, seconds)
        return await self.state()

    async def state(self) -> dict[str, Any]:
        """What has happened since the last `forget`, at once."""
        return {
            "open": len(self._open),
            "wanted": self._wanted,
            "lost": self._lost,
            "longest_away": self._longest_away,
            "refused": dict(self._refused),
            "tried": {str(bucket): count for bucket, count in self._tried.items()},
            "connects": {str(bucket): count for bucket, count in self._connects.items()},
        }

    async def give_up(self) -> dict[str, Any]:
        """Be content with the streams that are open now."""
        for task in list(self._tasks):
            task.cancel()
        self._wanted = len(self._open)
        return {}

    async def close(self) -> dict[str, Any]:
        """End all streams."""
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        for stream in list(self._open):
            stream.close()
        await _until(lambda: not self._open, 10)
        self._wanted, self._closing = 0, False
        return {}

    # ---- opening

    async def _keep(self, cookie: str, delay: float, since: float) -> None:
        """Have one stream open after `delay` seconds, however often it is refused.

        `since` is when it was lost.
        """
        await asyncio.sleep(delay)
        tries = 0
        while not self._closing:
            async with self._slots:
                why = await self._connect(cookie)
            if not why:
                self._longest_away = max(self._longest_away, time.monotonic() - since)
                return
            self._refused[why] += 1
            tries += 1
            await asyncio.sleep(backoff_seconds(tries))

    async def _connect(self, cookie: str) -> str:
        """Open one stream; the reason why not, or nothing."""
        loop = asyncio.get_running_loop()
        stream = ClientStream(self, self._request, cookie)
        answer: asyncio.Future[int] = loop.create_future()
        self._answers[stream] = answer
        sock = None
        try:
            sock = socket.socket()
            sock.setblocking(False)
            if self._source:
                _pick_port_late(sock)
                sock.bind((self._source, 0))
            self._tried[_bucket()] += 1
            async with asyncio.timeout(ANSWER_SECONDS):
                await loop.sock_connect(sock, self._to)
                await loop.create_connection(lambda: stream, sock=sock)
                sock = None  # the transport has it now
                status = await answer
            return "" if status == 200 else f"status {status}" if status else "connection closed"
        except TimeoutError:
            return "no answer in time"
        except OSError as error:
            return KNOWN.get(error.errno or 0, str(error))
        finally:
            self._answers.pop(stream, None)
            if sock is not None:
                sock.close()
            if stream not in self._open:
                stream.close()

    def _answer(self, stream: ClientStream, status: int) -> None:
        answer = self._answers.get(stream)
        if answer is not None and not answer.done():
            answer.set_result(status)

    def _start(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _pick_port_late(sock: socket.socket) -> None:
    """Have the kernel choose the port when it connects; among thousands that are taken it is slow before."""
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)


def _bucket() -> int:
    """The half second it is, the same in every process of this machine."""
    return int(time.monotonic() / BUCKET_SECONDS)


def backoff_seconds(tries: int) -> float:
    """The pause after so many refusals in a row: exponential backoff with jitter, as pages do it."""
    return min(MOST_BACKOFF_SECONDS, 2.0**tries) * random.uniform(0.5, 1)


async def _until(fact: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not fact() and time.monotonic() < deadline:
        await asyncio.sleep(0.05)


async def serve(pool: StreamPool) -> None:
    """Carry out commands until the input ends."""
    reader = asyncio.StreamReader(limit=1 << 26)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        do: Callable[..., Awaitable[dict[str, Any]]] = getattr(pool, command.pop("do"))
        print(json.dumps(await do(**command)), flush=True)


def main(url: str, source: str) -> None:
    """Allow as many files as this machine lets us, and serve."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = 1 << 20 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

    async def run() -> None:
        await serve(StreamPool(url, source))

    asyncio.run(run())


if __name__ == "__main__":
    main(*sys.argv[1:])
