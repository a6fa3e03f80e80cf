"""What event streams cost: private bytes of an idle one in worker and nginx, and how soon all are told.

`make run` need not run: `.venv/bin/python -m lab.cost.streams [streams]` starts its own stack.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from deploy.native.scratch import Scratch, scratch_stack
from deploy.paths import ROOT

WARM = 200  # streams opened before the first look, so that what is allocated once does not count
AT_ONCE = 50
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with scratch_stack(ROOT / "nginx/upstream.conf", os.environ) as stack:
        asyncio.run(measure(stack, count))


async def measure(stack: Scratch, count: int) -> None:
    """Open WARM streams, look, open `count` more, look again.  Each belongs to a session of its own."""
    groups = {"worker": workers_of(stack), "nginx": nginx_of(stack)}
    streams = await open_streams(stack, "warm", WARM)
    await asyncio.sleep(2)
    before = {name: private_bytes(pids) for name, pids in groups.items()}
    streams += await open_streams(stack, "stream", count)
    await asyncio.sleep(2)
    for name, pids in groups.items():
        each = (private_bytes(pids) - before[name]) / count
        print(f"{name}: {each / 1024:.1f} KiB a stream ({count} streams, {len(pids)} processes)")
    print(
        f"one alert reached all {len(streams)} streams in {await broadcast(stack, streams):.2f} s"
    )
    for _, writer in streams:
        writer.close()


async def broadcast(stack: Scratch, streams: list[Connection]) -> float:
    """Seconds from sending an alert until the last stream has it; this reader's own work included."""
    cookie = await log_in(stack.http_port, "speaker")
    readers = [asyncio.create_task(reader.readuntil(b"event: alert")) for reader, _ in streams]
    await asyncio.sleep(1)
    started = time.monotonic()
    status = await exchange(
        stack.http_port,
        b"POST /api/alerts HTTP/1.1",
        b'{"text":"now"}',
        b"Cookie: %b\r\nContent-Type: application/json\r\n" % cookie,
    )
    assert b" 202 " in status, status
    await asyncio.gather(*readers)
    return time.monotonic() - started


async def open_streams(stack: Scratch, prefix: str, count: int) -> list[Connection]:
    few = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> Connection:
        async with few:
            return await open_stream(stack.http_port, f"{prefix}-{number}")

    return await asyncio.gather(*map(one, range(count)))


async def open_stream(port: int, user: str) -> Connection:
    """Log in, and open a stream through nginx; returns when it has begun."""
    cookie = await log_in(port, user)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
    writer.write(
        b"GET /events HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nCookie: %b\r\n\r\n" % (port, cookie)
    )
    await reader.readuntil(b"event: session")
    return reader, writer


async def log_in(port: int, user: str) -> bytes:
    """The cookie of a new session."""
    answer = await exchange(
        port,
        b"POST /login HTTP/1.1",
        b"username=%b&password=demo" % user.encode(),
        b"Content-Type: application/x-www-form-urlencoded\r\n",
    )
    cookie = re.search(rb"Set-Cookie: (sid=[^;]+)", answer)
    assert cookie, "the login failed"
    return cookie[1]


async def exchange(port: int, request: bytes, body: bytes, headers: bytes) -> bytes:
    """The answer to one request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = b"%b\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n" % (request, port)
    writer.write(head + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    answer = await reader.read()
    writer.close()
    return answer


def private_bytes(pids: Iterable[int]) -> int:
    """Memory that no other process shares (Private_* of the kernel's smaps_rollup)."""
    text = "".join(Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids)
    return 1024 * sum(map(int, re.findall(r"Private_\w+: +(\d+) kB", text)))


def workers_of(stack: Scratch) -> list[int]:
    wanted = {str(port) for port in stack.worker_ports}
    return [pid for pid, words in processes() if "app" in words and wanted & {*words}]


def nginx_of(stack: Scratch) -> list[int]:
    """nginx's worker processes: the children of the one that runs in the stack's folder."""
    master = int((stack.folder / "state/nginx/nginx.pid").read_text())
    return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]


def processes() -> list[tuple[int, list[str]]]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append((int(path.parent.name), path.read_text().rstrip("\0").split("\0")))
        except OSError:
            pass  # it has ended meanwhile
    return found


if __name__ == "__main__":
    main()
