"""Processes as Linux shows them in /proc; elsewhere there is none to look in, and nothing is found."""

from __future__ import annotations

from pathlib import Path


def pids() -> list[int]:
    """All processes of this machine, or of this container."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def stat_of(pid: int) -> tuple[str, list[str]]:
    """A process's name, and what follows: its state, parent, group, session, …; empty for one that is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "", []
    # The name is in parentheses and may hold anything, so look for the last one.
    before, _, after = stat.rpartition(")")
    return before.partition("(")[2], after.split()


def is_stopped(pid: int) -> bool:
    """Whether it is, as by SIGSTOP."""
    return stat_of(pid)[1][:1] == ["T"]
