"""When the watchdog takes a worker for one that hangs, and how long nginx waits because of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from deploy.proc import is_stopped
from deploy.refused import Refused
from deploy.supervisor.daemon import Supervisord
from deploy.supervisor.watchdog import Watchdog, Watched, ask
from deploy.times import Times, read_times
from lab.testbed.servers import free_port, wait_until

LOOKS = 5


class Silent:
    """A server that accepts, and answers when it is told to."""

    def __init__(self) -> None:
        self.port = free_port()
        self.answers = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.answers.wait()
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()


@pytest.fixture
async def silent() -> AsyncIterator[Silent]:
    found = Silent()
    server = await asyncio.start_server(found.serve, "127.0.0.1", found.port)
    yield found
    found.answers.set()
    server.close()


async def look(worker: Watched, *, until: Callable[[], bool] | None = None) -> None:
    """Look some times, a second each by the watchdog's count; or until something holds."""
    async with asyncio.timeout(10):
        for _ in iter(lambda: until is not None and until(), True) if until else range(LOOKS):
            worker.look(1)
            await asyncio.sleep(0.02)


def worker_at(port: int, folder: Path) -> Watched:
    return Watched("worker-1", port, os.getpid(), folder / "worker-1")


async def test_silence_is_counted(silent: Silent, tmp_path: Path) -> None:
    """While a worker accepts and does not answer, the seconds add up; its answer ends that."""
    worker = worker_at(silent.port, tmp_path)
    await look(worker)
    assert worker.silent_seconds == LOOKS
    assert (
        worker.listens
    )  # although it has never answered: one that hangs at once has no longer time
    silent.answers.set()
    await look(worker, until=lambda: worker.silent_seconds < LOOKS)

    assert worker.silent_seconds <= 1
    worker.forget()


async def test_progress_counts_as_an_answer(silent: Silent, tmp_path: Path) -> None:
    """A worker that answers no question and goes on finishing requests is not silent."""
    worker = worker_at(silent.port, tmp_path)
    for count in range(LOOKS):
        (tmp_path / "worker-1.progress").write_bytes(bytes([count + 1]))
        await look(worker)
        assert worker.silent_seconds < LOOKS
    worker.forget()


async def test_not_listening(tmp_path: Path) -> None:
    """A worker that does not listen is told apart: it may be starting, or have drained."""
    worker = worker_at(free_port(), tmp_path)
    await look(worker)

    assert not worker.listens
    assert worker.silent_seconds == LOOKS
    worker.forget()


async def test_refused_question() -> None:
    """Where nobody listens the question is answered at once: no."""
    assert not await ask(free_port())


def test_supervisord_that_is_stopped(tmp_path: Path) -> None:
    """While somebody has stopped supervisord, as `kill -STOP` does, the watchdog goes on and blames nobody."""
    supervisord = subprocess.Popen(["sleep", "60"])
    (tmp_path / "supervisord.pid").write_text(f"{supervisord.pid}\n")
    try:
        supervisord.send_signal(signal.SIGSTOP)
        wait_until(lambda: is_stopped(supervisord.pid), seconds=10, what="its stop")
        Watchdog(Supervisord(tmp_path, tmp_path / "socket"), "127.0.0.1", 1, 1)._look(1)
    finally:
        supervisord.kill()
        supervisord.wait()


def test_this_process_runs() -> None:
    """A process that runs is not stopped, and one that is not there neither."""
    assert not is_stopped(os.getpid())
    assert not is_stopped(2**22 + 1)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 85),
        ({"PAGE_SECONDS": "300"}, 325),
        ({"WATCHDOG_SECONDS": "5"}, 70),
        ({"WATCHDOG_SECONDS": "0"}, 125),
    ],
)
def test_what_nginx_waits(given: dict[str, str], seconds: int) -> None:
    """Longer than a page may take after waiting behind one that blocks for as long as it may."""
    assert read_times(given).nginx_seconds == seconds


@pytest.mark.parametrize("name", ["PAGE_SECONDS", "WATCHDOG_SECONDS"])
@pytest.mark.parametrize("value", ["-1", "nan", "3601", "soon"])
def test_wrong_time(name: str, value: str) -> None:
    """What is no time is refused with the setting's name."""
    with pytest.raises(Refused, match=name):
        read_times({name: value})


def test_default_times() -> None:
    """A page may take 60 s and a worker be silent for 20."""
    assert read_times({}) == Times(60, 20)
