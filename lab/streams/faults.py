"""The faults that `make longconn` causes in its own stack: `python -m lab.streams.faults ACTION`.

The stack is the one STACK_DIR names.  Each action returns when it is done.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.native.leftovers import session_members
from deploy.native.options import Options, read_environ, read_options
from deploy.native.programs import supervisord_of
from deploy.operations.reload import reload as reload_stack
from deploy.operations.restart import rolling_restart as restart_workers
from deploy.paths import shown
from deploy.refused import Refused
from deploy.supervisor.health import readiness
from deploy.upstream.read import read_upstream

READY_SECONDS = 30.0


def pids(options: Options) -> None:
    """Print the processes by role, as JSON."""
    supervisord = supervisord_of(options)
    leader = int((supervisord.folder / "supervisord.pid").read_text())
    roles: dict[str, list[int]] = {"worker": [], "nginx": [], "redis": []}
    for pid in session_members(leader, supervisord.mark):
        role = _role(pid)
        if role:
            roles[role].append(pid)
    print(json.dumps(roles))


def reload(_: Options) -> None:
    """`make reload` of an unchanged list of workers: old processes keep their connections for a while."""
    reload_stack(read_environ(os.environ))


def rolling_restart(_: Options) -> None:
    """`make rolling-restart`: each worker ready before the next goes."""
    restart_workers(read_environ(os.environ))


def kill_worker(options: Options) -> None:
    """SIGKILL the first worker that runs, and wait until supervisor's new one is ready; Refused where none does."""
    running = supervisord_of(options).pids()
    workers = read_upstream(options.upstream_conf).workers
    server = next((worker for worker in workers if worker.name in running), None)
    if server is None:
        raise Refused(f"no worker of {shown(options.upstream_conf)} runs here: none can be killed")
    os.kill(running[server.name], signal.SIGKILL)
    time.sleep(0.2)  # a dead worker must not be taken for its successor
    deadline = time.monotonic() + READY_SECONDS
    while problem := readiness(server.port):
        if time.monotonic() > deadline:
            raise Refused(f"{server.name} was not ready within {READY_SECONDS:g} s: {problem}")
        time.sleep(0.05)


ACTIONS: dict[str, Callable[[Options], None]] = {
    "pids": pids,
    "reload": reload,
    "rolling-restart": rolling_restart,
    "kill-worker": kill_worker,
}


def _role(pid: int) -> str | None:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return None
    if "-m app " in command:
        return "worker"
    if command.startswith("nginx: ") or "/nginx" in command.split(" ")[0]:
        return "nginx"
    return "redis" if "redis" in command or "valkey" in command else None


def main(arguments: Sequence[str]) -> str | None:
    """Do the one action that is named; returns what is wrong, if anything."""
    action = ACTIONS.get(" ".join(arguments))
    if action is None:
        return f"one of: {', '.join(ACTIONS)}"
    try:
        action(read_options(read_environ(os.environ)))
    except Refused as error:
        return f"error: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
