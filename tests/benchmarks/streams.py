"""What an idle event stream costs in memory: private bytes a stream, in the workers and in nginx.

`make run` need not run: `.venv/bin/python -m tests.benchmarks.streams [streams]` starts its own stack.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
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
    for _, writer in streams:
        writer.close()


async def open_streams(stack: Scratch, prefix: str, count: int) -> list[Connection]:
    few = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> Connection:
        async with few:
            return await open_stream(stack.http_port, f"{prefix}-{number}")

    return await asyncio.gather(*map(one, range(count)))


async def open_stream(port: int, user: str) -> Connection:
    """Log in, and open a stream through nginx; returns when it has begun."""
    form = f"username={user}&password=demo"
    post = (
        f"POST /login HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n\r\n{form}"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(post.encode())
    cookie = re.search(rb"Set-Cookie: (sid=[^;]+)", await reader.read())
    writer.close()
    assert cookie, "the login failed"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
    writer.write(
        b"GET /events HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nCookie: %b\r\n\r\n" % (port, cookie[1])
    )
    await reader.readuntil(b"event: session")
    return reader, writer


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
