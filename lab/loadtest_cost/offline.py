"""How long the offline checker takes over a history of a million requests."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from loadtest.check.history import HistoryWriter, lifetimes_of, read_header, read_ops
from loadtest.check.op import Op


def enlarge(source: Path, target: Path, count: int) -> int:
    """Write a history at least `count` requests long: that of `source` again and again, each time by
    other sessions. Returns its length."""
    ops = list(read_ops(source))
    written = 0
    with HistoryWriter(target, lifetimes_of(read_header(source))) as history:
        while written < count:
            for op in _by_others(ops, f"{written}-"):
                history.write(op)
                written += 1
    return written


def _by_others(ops: list[Op], prefix: str) -> Iterator[Op]:
    for op in ops:
        yield replace(
            op,
            session=prefix + op.session,
            replaces=prefix + op.replaces if op.replaces else None,
            ends=tuple(prefix + ended for ended in op.ends) if op.ends else None,
            cookie=prefix + op.cookie if op.cookie else None,
            op=prefix + op.op if op.op else None,
            user=prefix + op.user,
            seen=prefix + op.seen if op.seen else None,
        )


def seconds_to_check(history: Path) -> tuple[float, float]:
    """Of processor and of the clock, in a process of its own as a user starts it.

    They are the same while a core is free; on a busy machine only the first says what the check costs.
    """
    before, start = _processor_seconds(), time.monotonic()
    command = [sys.executable, "-m", "loadtest.check.offline", str(history)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return _processor_seconds() - before, time.monotonic() - start


def _processor_seconds() -> float:
    """Of all processes that this one has started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system
