"""What is left of a supervisord that died: its programs share its session id, and are found by it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

SESSION_FIELD = 3  # of /proc/<pid>/stat after the name: state, parent, group, session


def kill_session(leader: int, mark: str) -> None:
    """Kill every process of the session that `leader` started; after an orderly stop there is none."""
    for pid in session_members(leader, mark):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def session_members(leader: int, mark: str) -> list[int]:
    """The living processes of that session, or none when no member has `mark` in its environment.

    The number of a dead leader may by now belong to somebody else's session: `mark` tells.
    Linux only: elsewhere there is no /proc to look in, and the answer is always none.
    """
    members = [pid for pid in _pids() if _session(pid) == leader]
    return members if any(mark in _environ(pid) for pid in members) else []


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _session(pid: int) -> int | None:
    try:
        # The name is in parentheses and may hold anything, so count from the last one.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[SESSION_FIELD])


def _environ(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return []
