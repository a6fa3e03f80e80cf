"""A worker for development, in the place of `python -m app`: changed code takes over without a lost request.

When a file of app/ changes, a successor starts beside the worker that serves.  Both listen on the same
socket.  Once the successor is ready, the other one stops accepting and finishes what it has begun.  A
successor that cannot start is reported in the log, and the worker before it goes on serving.
`make dev` starts workers this way.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from tornado.netutil import bind_sockets

# Imported here so that a successor, which is forked, has what app.__main__ needs of others already.
from app.__main__ import BACKLOG, parse_arguments, worker_name
from app.logs import write_logs

HERE = Path(__file__).parent
WATCHED = (".py", ".lua", ".html", ".js", ".css", ".svg")
LOOK_SECONDS = 0.15
PR_SET_PDEATHSIG = 1

log = logging.getLogger("app")
Stamps = dict[str, tuple[int, int]]


class Stop(BaseException):
    """SIGTERM or SIGINT arrived."""


class Serving:
    """The worker that serves, those that finish what they have begun, and the files that are watched."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets
        self._stamps = stamps()
        self._all: set[int] = set()
        self._serving = self._start()[0]

    def run(self) -> int:
        """Watch until stopped, or until the serving worker ends by itself; its exit code."""
        try:
            while (code := self._ended()) is None:
                time.sleep(LOOK_SECONDS)
                if (changed := sorted(_changed(self._stamps, now := stamps()))) and now == stamps():
                    self._stamps = now
                    self._replace(", ".join(changed))
            return code
        except Stop:
            return 0
        finally:
            self._stop_all()

    def pass_on(self, number: int, frame: FrameType | None) -> None:
        """SIGUSR1 moves event streams, SIGUSR2 writes the stack of a worker that hangs."""
        os.kill(self._serving, number)

    def _replace(self, changed: str) -> None:
        """Start a successor and let it take over; not when it ends, or files change again, before it is ready."""
        pid, ready = self._start()
        with open(ready, "rb") as pipe:
            while not select.select([pipe], [], [], LOOK_SECONDS)[0]:
                if stamps() != self._stamps:
                    os.kill(pid, signal.SIGKILL)
                    self._stamps = {}
                    return
            if not pipe.read(1):
                log.error("%s changed, and the worker cannot start with it", changed)
                return
        os.kill(self._serving, signal.SIGTERM)
        self._serving = pid
        log.info("%s changed: a new worker has taken over", changed)

    def _start(self) -> tuple[int, int]:
        """A worker in a process of its own, and a pipe from which a byte can be read once it is ready."""
        ready, told = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os._exit(_work(self._sockets, told, parent))
        os.close(told)
        self._all.add(pid)
        return pid, ready

    def _ended(self) -> int | None:
        """Forget workers that have finished; the exit code of the serving one if it has."""
        for pid in list(self._all):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._all.discard(pid)
                if pid == self._serving:
                    return os.waitstatus_to_exitcode(status)
        return None

    def _stop_all(self) -> None:
        for pid in self._all:
            os.kill(pid, signal.SIGTERM)
        for pid in self._all:
            os.waitpid(pid, 0)


def main() -> int:
    options = parse_arguments()
    if options is None:
        return 0
    write_logs(worker_name(options.host, options.port))
    sockets = bind_sockets(options.port, options.host or None, backlog=BACKLOG)
    serving = Serving(sockets)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, serving.pass_on)
    return serving.run()


def stamps() -> Stamps:
    """When each watched file was written, and its length."""
    found = {}
    for folder, _, names in os.walk(HERE):
        for path in (os.path.join(folder, name) for name in names if name.endswith(WATCHED)):
            try:
                about = os.stat(path)
            except FileNotFoundError:  # an editor is replacing it
                continue
            found[path] = about.st_mtime_ns, about.st_size
    return found


def _changed(before: Stamps, now: Stamps) -> Iterator[str]:
    for path in before.keys() | now.keys():
        if before.get(path) != now.get(path):
            yield os.path.relpath(path, HERE.parent)


def _work(sockets: list[socket.socket], told: int, parent: int) -> int:
    """In the forked process: be a worker made of the files as they are now."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":  # when the parent is killed, nobody may go on holding the port
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            return 1
    for name in [name for name in sys.modules if name == "app" or name.startswith("app.")]:
        del sys.modules[name]
    try:
        worker = importlib.import_module("app.__main__")
        return int(worker.main(worker.Handover(sockets, lambda: os.write(told, b"1"))))
    except BaseException:
        log.exception("a worker cannot start")
        return 1


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stop


if __name__ == "__main__":
    sys.exit(main())
