"""Event listener: when supervisord gives a program up, write down its name and stop everything.

Speaks supervisord's listener protocol on standard input and output (supervisord.org/events.html).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TextIO


def main() -> None:
    """Wait for the one event subscribed to, PROCESS_STATE_FATAL; each one ends supervisord."""
    note = Path(os.environ["SUPERVISOR_DIR"]) / "fatal"
    while name := next_fatal(sys.stdin, sys.stdout):
        note.write_text(name)
        os.kill(os.getppid(), signal.SIGTERM)


def next_fatal(events: TextIO, answers: TextIO) -> str | None:
    """The name of the next program given up, or None when supervisord closed the stream."""
    answers.write("READY\n")
    answers.flush()
    header = _fields(events.readline())
    if not header:
        return None
    name = _fields(events.read(int(header["len"])))["processname"]
    answers.write("RESULT 2\nOK")
    answers.flush()
    return name


def _fields(line: str) -> dict[str, str]:
    return dict(pair.split(":", 1) for pair in line.split())


if __name__ == "__main__":
    main()
