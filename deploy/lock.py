"""A lock that ends with its process: one `make run` a STACK_DIR, one operation at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Held(Exception):
    """Another process holds the lock; `pid` is its process id."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"held by process {pid}")
        self.pid = pid


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock `path` while the block runs; raises Held when another process does.

    The kernel lets go when the process dies, so a stale file or a reused process id means nothing.
    """
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Held(_pid(path)) from None
        path.write_text(f"{os.getpid()}\n", encoding="utf-8")
        yield
        path.write_text("", encoding="utf-8")


def holder(path: Path) -> int | None:
    """The process that holds the lock, or None."""
    if not path.exists():
        return None
    try:
        with held(path):
            return None
    except Held as error:
        return error.pid


def _pid(path: Path) -> int:
    text = path.read_text(encoding="utf-8").strip()
    return int(text) if text.isdigit() else 0
