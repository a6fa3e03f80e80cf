"""What a watchdog can see and do while the event loop of this worker is stuck.

Files are PATH.progress, a counter, and PATH.stack; deploy/supervisor/watchdog.py reads them.
"""

from __future__ import annotations

import asyncio
import faulthandler
import mmap
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from app.handlers.base import BaseHandler, Worker

HANGS_SIGNAL = signal.SIGUSR2
COUNTER = struct.Struct("=Q")


def answer_hanging(worker: Worker, path: Path | None) -> None:
    """On SIGUSR2, which comes before SIGKILL, write every thread's stack and tell the hanging page's visitor.

    The stack goes to PATH.stack, or to standard error without a path.  It is written by the interpreter's own
    handler, which works in any state.  The visitor gets 504, so that nginx does not give the page to the next
    worker, which would hang as well; that needs an interpreter that still comes round to signals, as it does
    in an endless loop and in a deadlock.
    """
    signal.signal(HANGS_SIGNAL, lambda *_: _answer(blocking_page(worker)))
    # Open as long as this process runs: a handler of signals may not open files.
    file = sys.stderr if path is None else open(f"{path}.stack", "w")  # noqa: SIM115
    faulthandler.register(HANGS_SIGNAL, file, chain=True)


def blocking_page(worker: Worker) -> BaseHandler | None:
    """In a handler of signals: the page in whose code this process is at this moment, if it is in any."""
    task = asyncio.current_task()
    return next((page for page in worker.pages if task and page.task is task), None)


def progress_counter(path: Path) -> Callable[[], None]:
    """A function that raises the counter in PATH.progress.

    The file is mapped into memory: raising the counter costs no system call.
    """
    with open(f"{path}.progress", "w+b") as file:
        file.write(bytes(COUNTER.size))
        file.flush()
        memory = mmap.mmap(file.fileno(), COUNTER.size)
    count = 0

    def note_progress() -> None:
        nonlocal count
        count += 1
        COUNTER.pack_into(memory, 0, count)

    return note_progress


def times_started(path: Path | None) -> dict[str, Callable[[], int]]:
    """How often supervisord has started this worker, and its watchdog replaced it; each is a file, a byte a time.

    Nothing for a worker that neither looks after.
    """
    if path is None:
        return {}
    folder = path.parent.parent
    return {
        "worker_starts": lambda: _size(folder / "starts" / path.name),
        "worker_hangs": lambda: _size(folder / "hangs" / path.name),
    }


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _answer(page: BaseHandler | None) -> None:
    if page is not None:
        page.end_late_page()
