"""The processes of a native stack, for tests that count them or kill one."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path

from deploy.native.leftovers import session_members
from deploy.native.scratch import Scratch
from deploy.supervisor.daemon import Supervisord


def supervisord_of(stack: Scratch) -> Supervisord:
    """The supervisord of `stack`, whose socket has a short enough path in these tests."""
    folder = stack.folder / "state"
    return Supervisord(folder / "supervisor", folder / "supervisor.sock")


def supervisord_pid(stack: Scratch) -> int:
    return int((supervisord_of(stack).folder / "supervisord.pid").read_text())


def members(stack: Scratch, leader: int) -> list[int]:
    """The processes of `stack` that are alive; `leader` is its supervisord, dead or not."""
    return session_members(leader, supervisord_of(stack).mark)


def pid_listening(leader: int, port: int, stack: Scratch) -> int:
    """The process of `stack` whose command line has `--port PORT`: that worker."""
    for pid in members(stack, leader):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"--port" in words and str(port).encode() in words:
            return pid
    raise AssertionError(f"no worker has port {port}")


def boot_of(port: int) -> str | None:
    """The id that the worker on `port` got when it started; None while none answers there."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=1) as answer:
            return str(json.load(answer)["boot"])
    except OSError:
        return None


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
