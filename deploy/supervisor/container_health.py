"""The container's health check: its workers are ready, and nginx has had the time to notice."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from deploy.replace_file import replace_file
from deploy.supervisor.health import readiness
from deploy.supervisor.programs import worker_ports

# nginx asks a worker that refused again after fail_timeout (1 s in upstream.conf), and counts whole
# seconds, so up to one later; a name it looks up again after `valid` (1 s in nginx.conf), likewise.
NOTICED_SECONDS = 2.5
LOOK_UP_SECONDS = 0.5


def check_health(folder: Path, nginx_runs: Callable[[], bool]) -> int:
    """Ask each worker that `folder` has a program for; 0 when all are ready, 1 with their names.

    The first time, that is not enough where nginx runs: it may still hold that these workers refuse.
    """
    ports = worker_ports(folder / "programs")
    problems = {port: problem for port in ports if (problem := readiness(port))}
    for port, problem in problems.items():
        print(f"worker-{port}: {problem}")
    if problems or not ports:
        return 1
    return 0 if _is_noticed(folder / "ready", nginx_runs) else 1


def nginx_is_named() -> bool:
    """Whether Docker knows a running `nginx`: it answers at once, and a name server beyond it may not."""
    found = threading.Event()
    threading.Thread(target=_look_up, args=("nginx", found), daemon=True).start()
    return found.wait(LOOK_UP_SECONDS)


def _is_noticed(ready: Path, nginx_runs: Callable[[], bool]) -> bool:
    """`ready` is a file as old as the workers' readiness; it goes with the container."""
    if not ready.exists():
        if not nginx_runs():
            replace_file(ready, "0")
            return True
        replace_file(ready, str(time.monotonic()))
    left = NOTICED_SECONDS - (time.monotonic() - float(ready.read_text(encoding="utf-8")))
    if left > 0:
        print(f"the workers are ready; nginx knows in {left:.1f} s")
    return left <= 0


def _look_up(name: str, found: threading.Event) -> None:
    try:
        socket.getaddrinfo(name, None)
        found.set()
    except OSError:
        pass
