"""What is left of a supervisord that died: its programs share its session id, and are found by it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from deploy.proc import pids, stat_of


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
    members = [pid for pid in pids() if _session(pid) == leader]
    return members if any(mark in _environ(pid) for pid in members) else []


def _session(pid: int) -> int | None:
    _, about = stat_of(pid)
    return int(about[3]) if about and about[0] != "Z" else None


def _environ(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return []
