"""The watchdog: replaces a worker that has not answered for WATCHDOG_SECONDS.

It asks each worker on its own port.  A worker that answers nothing but goes on finishing requests is slow:
pages that block one after the other leave no moment for the question.  One that does neither hangs, in an
endless loop, a deadlock or SIGSTOP; supervisord starts another in its place (gunicorn's timeout is the model).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from deploy.networks import read_workers_bind
from deploy.proc import is_stopped
from deploy.supervisor.daemon import AWAY, Supervisord
from deploy.supervisor.notes import count_hang
from deploy.times import read_drain_seconds, read_times
from deploy.upstream.read import worker_port

LOOK_SECONDS = 0.5
# A look that comes later than this was held up itself, by a busy machine or a frozen container; the workers
# were, too, so the time does not count.
MOST_SECONDS = 2 * LOOK_SECONDS
START_SECONDS = 30.0  # for one that does not listen: it is starting, or drained and about to end
STACK_SECONDS = 2.0
ASKED = {"STARTING", "RUNNING"}


class Watched:
    """One worker process, and how long there has been no sign of life of it."""

    def __init__(
        self, name: str, port: int, pid: int, files: Path, host: str = "127.0.0.1"
    ) -> None:
        self.name, self.port, self.pid, self.host = name, port, pid, host
        self.silent_seconds = 0.0
        self.listens: bool | None = None  # not known yet
        self._progress = files.with_suffix(".progress")
        self._stack = files.with_suffix(".stack")
        self._seen = b""
        self._question: asyncio.Task[bool] | None = None

    def look(self, elapsed: float) -> None:
        """Note what has happened in these seconds; to be called inside the event loop."""
        self.silent_seconds += elapsed
        if self._question and self._question.done():
            answered, self._question = self._question.result(), None
            if answered:
                self.silent_seconds = 0
        if (progress := _content(self._progress)) != self._seen:
            self._seen, self.silent_seconds = progress, 0
        if self._question is None:
            question = ask(self.port, self._note_listening, self.host)
            self._question = asyncio.create_task(question)

    def _note_listening(self, listens: bool) -> None:
        """It may be starting or ending until it listens, and hang from then on: each has its own time."""
        if self.listens not in (None, listens):
            self.silent_seconds = 0
        self.listens = listens

    def forget(self) -> None:
        if self._question:
            self._question.cancel()

    def stack(self) -> str:
        """The Python stack of each thread, or why there is none."""
        if is_stopped(self.pid):
            return "none: the process is stopped (SIGSTOP), and a stopped process takes no signal"
        before = _content(self._stack)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR2)
        deadline = time.monotonic() + STACK_SECONDS
        text = before
        while time.monotonic() < deadline:
            time.sleep(0.1)
            if text != before and _content(self._stack) == text:
                return text.removeprefix(before).decode("utf-8", "replace")
            text = _content(self._stack)
        return f"none: the process did not write one within {STACK_SECONDS:g} s"


class Watchdog:
    """Looks after the workers of one supervisord, which listen on `host`, until it is ended."""

    def __init__(
        self, supervisord: Supervisord, host: str, limit_seconds: float, drain_seconds: float
    ) -> None:
        self._supervisord = supervisord
        self._host = host
        self._limit_seconds = limit_seconds
        self._not_listening_seconds = limit_seconds + drain_seconds + START_SECONDS
        self._workers: dict[str, Watched] = {}

    async def run(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            self._look(min(now - before, MOST_SECONDS))
            before = now

    def _look(self, elapsed: float) -> None:
        try:
            self._follow(self._supervisord.processes())
        except AWAY:
            return
        for worker in self._workers.values():
            worker.look(elapsed)
            limit = self._limit_seconds if worker.listens else self._not_listening_seconds
            if worker.silent_seconds >= limit:
                self._replace(worker)

    def _follow(self, processes: list[dict[str, Any]]) -> None:
        """Keep one Watched for each worker process that supervisord runs and is not stopping."""
        running = {p["name"]: p["pid"] for p in processes if p["statename"] in ASKED}
        for name, worker in list(self._workers.items()):
            if running.get(name) != worker.pid:
                self._workers.pop(name).forget()
        for name, pid in running.items():
            port = worker_port(name)
            if port is not None and name not in self._workers:
                files = self._supervisord.watched(name)
                self._workers[name] = Watched(name, port, pid, files, self._host)

    def _replace(self, worker: Watched) -> None:
        silent, stack = worker.silent_seconds, worker.stack()
        said = f"has not answered for {silent:.0f} s: it is killed, and supervisord starts another"
        _log(f"{worker.name} (process {worker.pid}) {said}", worker=worker.name, stack=stack)
        count_hang(self._supervisord.folder, worker.name)
        with suppress(*AWAY):  # it has ended since
            self._supervisord.signal_program(worker.name, "KILL")
        worker.silent_seconds = 0


async def ask(
    port: int, note_listening: Callable[[bool], None] = lambda _: None, host: str = "127.0.0.1"
) -> bool:
    """Whether the worker answers, however long that takes; first it is noted whether anybody listens."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        note_listening(False)
        return False
    note_listening(True)
    try:
        writer.write(b"GET /livez HTTP/1.1\r\nHost: watchdog\r\nConnection: close\r\n\r\n")
        return bool(await reader.read(1))
    except OSError:
        return False
    finally:
        writer.close()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _log(message: str, **more: str) -> None:
    """One line of JSON, like those of the workers."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = {"time": now, "level": "error", **more, "message": message}
    print(json.dumps(line, ensure_ascii=False), flush=True)


def main() -> int:
    """Ends only by a signal."""
    folder, socket = Path(os.environ["SUPERVISOR_DIR"]), Path(os.environ["SUPERVISOR_SOCKET"])
    limit = read_times(os.environ).watchdog_seconds
    drain = read_drain_seconds(os.environ)
    host = read_workers_bind(os.environ)
    asyncio.run(Watchdog(Supervisord(folder, socket), host, limit, drain).run())
    return 1


if __name__ == "__main__":
    sys.exit(main())
