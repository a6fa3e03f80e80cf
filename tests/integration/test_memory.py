"""The memory of a real worker, before, while and after it holds many event streams."""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.settings import COOKIE_NAME
from lab.testbed.servers import Place, wait_until
from lab.testbed.workers import ROOT, Worker
from tests.integration.conftest import NewVisitor, StartWorkers

SESSIONS = 60
STREAMS_A_SESSION = 20
RETURNED = 0.5  # of what the crowd added; `make longconn` limits what is left of 36,000
# The C library's own allocator gives single free pages back, Python's only a whole free MiB, which after
# so small a crowd is a matter of chance. What the worker itself holds on to shows with either.
PAGES = {"PYTHONMALLOC": "malloc"}
KEEPS_ALL = """\"\"\"A worker that never gives memory back.\"\"\"
import app.memory
from app.settings import COOKIE_NAME

async def give_back(most_open, open_now):
    pass

app.memory.give_back = give_back
"""


def private_bytes(worker: Worker) -> int:
    """What the process has for itself in user space."""
    assert worker.process is not None
    text = Path(f"/proc/{worker.process.pid}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+)", text)
    assert found
    return int(found[1]) * 1024


async def log_in(worker: Worker, new_visitor: NewVisitor) -> list[str]:
    """The cookies of SESSIONS new sessions."""
    visitors = [new_visitor() for _ in range(SESSIONS)]
    for visitor in visitors:
        await visitor.log_in(worker)
    return [str(visitor.cookie) for visitor in visitors]


def hold_streams(worker: Worker, cookies: list[str]) -> int:
    """Open STREAMS_A_SESSION streams of each session, some at once, and close all; the memory with all open."""
    with ExitStack() as streams:
        for _ in range(STREAMS_A_SESSION):
            some = [open_stream(worker, cookie, streams) for cookie in cookies]
            for stream in some:
                assert stream.recv(4096).startswith(b"HTTP/1.1 200")
        assert worker.metric("event_streams") == len(cookies) * STREAMS_A_SESSION
        most = private_bytes(worker)
    wait_until(lambda: worker.metric("event_streams") == 0, seconds=20, what="no streams")
    return most


def open_stream(worker: Worker, cookie: str, streams: ExitStack) -> socket.socket:
    stream = streams.enter_context(socket.create_connection(("127.0.0.1", worker.port), 10))
    head = f"GET /events HTTP/1.1\r\nHost: x\r\nCookie: {COOKIE_NAME}={cookie}\r\n\r\n"
    stream.sendall(head.encode())
    return stream


async def warmed_up(worker: Worker, new_visitor: NewVisitor) -> list[str]:
    """Cookies of sessions whose streams this worker held once, so that nothing is new to it."""
    cookies = await log_in(worker, new_visitor)
    hold_streams(worker, cookies[:5])
    return cookies


def has_returned(worker: Worker, before: int, most: int) -> bool:
    return private_bytes(worker) < most - (most - before) * RETURNED


async def test_memory_returns(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """Soon after many streams have gone, a worker has given back at least half of what they took."""
    [worker] = start_workers(shared_single.url, **PAGES)
    cookies = await warmed_up(worker, new_visitor)
    before = private_bytes(worker)
    most = hold_streams(worker, cookies)
    wait_until(lambda: has_returned(worker, before, most), seconds=15, what="half of the memory")


@pytest.mark.long
async def test_memory_stays_when_it_is_not_given_back(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor, tmp_path: Path
) -> None:
    """Without giving it back the same streams leave the worker larger: the other test can fail."""
    (tmp_path / "sitecustomize.py").write_text(KEEPS_ALL)
    [worker] = start_workers(shared_single.url, PYTHONPATH=f"{tmp_path}:{ROOT}", **PAGES)
    cookies = await warmed_up(worker, new_visitor)
    before = private_bytes(worker)
    most = hold_streams(worker, cookies)
    with pytest.raises(AssertionError, match="not within"):
        wait_until(lambda: has_returned(worker, before, most), seconds=4, what="half of the memory")
