"""Event listener: counts how often each program was started, and ends everything when one is given up.

Speaks supervisord's listener protocol on standard input and output (supervisord.org/events.html).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TextIO

from deploy.supervisor.notes import count_start, is_attended


def main() -> None:
    """Wait for events; the first program that will not be started again ends supervisord."""
    folder = Path(os.environ["SUPERVISOR_DIR"])
    while event := next_event(sys.stdin, sys.stdout):
        name = event["processname"]
        if event["eventname"] == "PROCESS_STATE_STARTING":
            count_start(folder, name)
        elif is_given_up(event) and not is_attended(folder, name):
            (folder / "fatal").write_text(name, encoding="utf-8")
            os.kill(os.getppid(), signal.SIGTERM)


def next_event(events: TextIO, answers: TextIO) -> dict[str, str]:
    """The fields of the next event, its name among them; empty when supervisord closed the stream."""
    answers.write("READY\n")
    answers.flush()
    header = _fields(events.readline())
    if not header:
        return {}
    event = _fields(events.read(int(header["len"])))
    answers.write("RESULT 2\nOK")
    answers.flush()
    return header | event


def is_given_up(event: dict[str, str]) -> bool:
    """Whether the program stays down: it failed too often, or ended with the code that says why not to try."""
    return event["eventname"] == "PROCESS_STATE_FATAL" or event.get("expected") == "1"


def _fields(line: str) -> dict[str, str]:
    return dict(pair.split(":", 1) for pair in line.split())


if __name__ == "__main__":
    main()
