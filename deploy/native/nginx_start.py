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

MOST_SECONDS = 2.0  # one that stands still gives nothing up; nginx itself tries for as long again
GROUP_FIELD = 2  # of /proc/<pid>/stat after the name: state, parent, group


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
    members = [pid for pid in _pids() if _name_and_group(pid) == ("nginx", master)]
    return [] if master in members else members


def _holds_ports(pid: int) -> bool:
    """Its title says when it has given them up (nginx: src/os/unix/ngx_process_cycle.c)."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return bool(title) and b"shutting down" not in title


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _name_and_group(pid: int) -> tuple[str, int]:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "", 0
    before, _, after = stat.rpartition(")")
    return before.partition("(")[2], int(after.split()[GROUP_FIELD])


if __name__ == "__main__":
    main()
