"""`make dev`: prints what the workers log about changed files and about errors, as it happens."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

ONCE_SECONDS = 3.0  # within which all workers report the same change
REPORTED = ("warning", "error")


class Changes:
    """The logs of the workers; the same report of several workers is printed once."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._files: dict[Path, TextIO] = {}
        self._printed: dict[str, float] = {}

    def report(self) -> None:
        """Print what has been logged since the last time; of a file seen for the first time, nothing."""
        for path in sorted(self._logs.glob("worker-*.log")):
            if path not in self._files:
                self._files[path] = path.open(errors="replace")
                self._files[path].seek(0, os.SEEK_END)
            for line in _new_lines(self._files[path]):
                self._print(report(line))

    def _print(self, text: str) -> None:
        now = time.monotonic()
        if text and now - self._printed.get(text, -ONCE_SECONDS) >= ONCE_SECONDS:
            print(text, flush=True)
            self._printed[text] = now


def report(line: str) -> str:
    """What a developer should see of one line of a worker's log; empty for most."""
    try:
        about = json.loads(line)
    except ValueError:
        return line.rstrip()  # Python itself, or a print of the developer's
    if about["level"] not in REPORTED and "has taken over" not in about["message"]:
        return ""
    return "\n".join([about["message"], *([about["trace"]] if "trace" in about else [])])


def _new_lines(file: TextIO) -> Iterator[str]:
    """Those since the last time; one that is only half written comes with the next."""
    if os.fstat(file.fileno()).st_size < file.tell():
        file.seek(0)  # the log was begun anew
    while (line := file.readline()).endswith("\n"):
        yield line
    file.seek(file.tell() - len(line.encode()))
