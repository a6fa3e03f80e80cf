"""Processes that are killed, stopped and asked whether they are there."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from lab.testbed.servers import wait_until

REAPED_SECONDS = 5.0


def send(number: int, pids: Iterable[int]) -> None:
    """A signal to each that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def kill(pids: Iterable[int]) -> None:
    """Returns when their parents know: until then all would look as if nothing had happened."""
    killed = list(pids)
    send(signal.SIGKILL, killed)
    gone = [Path(f"/proc/{pid}") for pid in killed]
    wait_until(
        lambda: not any(path.exists() for path in gone),
        seconds=REAPED_SECONDS,
        what="the end of what was killed",
    )


def ignores(pid: int, number: int) -> bool:
    """Whether it ignores this signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(int(mask.split()[1], 16) >> (number - 1) & 1)


def children(pid: int) -> list[int]:
    """The processes that this one has started, and that live."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def answers(url: str) -> bool:
    """Whether it answers with 200 within a second."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
