"""`make dev`: prints what the workers log about changed files and about errors, as it happens."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import TextIO

LOOK_SECONDS = 0.2
ONCE_SECONDS = 3.0  # within which all workers report the same change
REPORTED = ("warning", "error")


def report_changes(logs: Path, process: subprocess.Popen[bytes]) -> None:
    """Return when `process` has ended; the same report of several workers is printed once."""
    files: dict[Path, TextIO] = {}
    printed: dict[str, float] = {}
    while process.poll() is None:
        for path in sorted(logs.glob("worker-*.log")):
            if path not in files:
                files[path] = path.open(errors="replace")
                files[path].seek(0, 2)
            while (line := files[path].readline()).endswith("\n"):
                text, now = report(line), time.monotonic()
                if text and now - printed.get(text, -ONCE_SECONDS) >= ONCE_SECONDS:
                    print(text, flush=True)
                    printed[text] = now
            files[path].seek(
                files[path].tell() - len(line.encode())
            )  # a line that is only half written
        time.sleep(LOOK_SECONDS)


def report(line: str) -> str:
    """What a developer should see of one line of a worker's log; empty for most."""
    try:
        about = json.loads(line)
    except ValueError:
        return line.rstrip()  # Python itself, or a print of the developer's
    if about["level"] not in REPORTED and "has taken over" not in about["message"]:
        return ""
    return "\n".join([about["message"], *([about["trace"]] if "trace" in about else [])])
