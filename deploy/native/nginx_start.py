"""`python -m deploy.native.nginx_start PID_FILE COMMAND…`: end what a killed nginx has left, then become COMMAND.

A master that is killed, as by the kernel when memory is short, leaves the processes that serve requests.  They go
on, and hold the ports: the next master could not begin.  SIGQUIT has them give up the ports at once and
finish what they are answering.  Linux only: elsewhere nothing is found.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from deploy.proc import pids, stat_of

MOST_SECONDS = 2.0  # one that stands still gives nothing up; nginx itself tries for as long again


def main() -> None:
    """Replace this process."""
    pid_file, *command = sys.argv[1:]
    left = left_behind(Path(pid_file))
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)
    deadline = time.monotonic() + MOST_SECONDS
    while any(map(_holds_ports, left)) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.execvp(command[0], command)


def left_behind(pid_file: Path) -> list[int]:
    """The nginx processes of the group whose leader, the master that wrote `pid_file`, is gone."""
    try:
        master = int(pid_file.read_text())
    except (OSError, ValueError):
        return []  # a master that ends in order removes it
    members = [pid for pid in pids() if _is_nginx_of(master, pid)]
    return [] if master in members else members


def _holds_ports(pid: int) -> bool:
    """Its title says when it has given them up (nginx: src/os/unix/ngx_process_cycle.c)."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return bool(title) and b"shutting down" not in title


def _is_nginx_of(master: int, pid: int) -> bool:
    name, about = stat_of(pid)
    return name == "nginx" and about[2] == str(master)


if __name__ == "__main__":
    main()
