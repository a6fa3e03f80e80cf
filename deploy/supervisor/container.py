"""The app container's first process: one worker for each `app` line of upstream.conf, under supervisord.

Logs of all of them go to this process's output.  SIGTERM drains the workers, all at once, and ends
with 0; a worker that cannot be kept running ends the container with 1.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import FrameType

from deploy.networks import read_workers_bind
from deploy.paths import ROOT
from deploy.refused import Refused
from deploy.supervisor.daemon import Supervisord
from deploy.supervisor.programs import Program, watchdog_program, worker_program, write_programs
from deploy.supervisor.start import start_supervisord
from deploy.supervisor.workers import Workers
from deploy.times import read_drain_seconds, read_times
from deploy.upstream.lint import check_upstream
from deploy.upstream.read import OUR_HOST, Server, read_upstream, text_of

FOLDER = Path("/tmp/supervisor")  # a tmpfs: the rest of the container is read-only
OUTPUT = Path("/dev/stdout")


class Stop(Exception):
    """SIGTERM or SIGINT arrived."""


def run_container() -> int:
    """Run the workers until told to stop; the return value is the exit code."""
    upstream = read_upstream(upstream_path(), own_address())
    check_upstream(upstream)
    if not upstream.workers:
        where = f"`server {own_address() or OUR_HOST}:8001 …;`"
        raise Refused(f"upstream.conf has no worker of this host: add {where}")
    if code := subprocess.run([sys.executable, "-m", "app", "--check"]).returncode:
        return code  # said once here, instead of by every worker
    supervisord = _supervisord()
    watchdog = [watchdog_program(OUTPUT)] if read_times(os.environ).watchdog_seconds else []
    write_programs(supervisord.programs, [*map(_program, upstream.workers), *watchdog])
    container_workers().keep(text_of(upstream.path))
    process: subprocess.Popen[bytes] | None = None
    try:
        signal.signal(signal.SIGTERM, _stop)
        signal.signal(signal.SIGINT, _stop)
        # In here they listen on every address; only the host knows the one that others use.
        environ = {**os.environ, "WORKERS_BIND": ""}
        process = start_supervisord(supervisord, environ, log=Path("/dev/null"), quiet=False)
        process.wait()
    except Stop:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if process is None:
            return 0
        supervisord.shut_down(process)
        return 0
    return _say_why(supervisord)


def container_workers() -> Workers:
    """The workers of this container, to be changed while they run."""
    return Workers(_supervisord(), socket.gethostname(), _program)


def upstream_path() -> Path:
    """The upstream file: UPSTREAM_CONF, or the one in nginx/ beside deploy/."""
    return Path(os.environ.get("UPSTREAM_CONF") or ROOT / "nginx/upstream.conf")


def own_address() -> str:
    """The address of the host, where upstream.conf names its workers by that (deploy/workers.yml)."""
    return read_workers_bind(os.environ) if os.environ.get("WORKERS_BIND") else ""


def _supervisord() -> Supervisord:
    return Supervisord(FOLDER, FOLDER / "supervisord.sock")


def _program(server: Server) -> Program:
    return worker_program(
        server,
        host="0.0.0.0",
        drain_seconds=read_drain_seconds(os.environ),
        output=OUTPUT,
        watched=_supervisord().watched(server.name),
    )


def _say_why(supervisord: Supervisord) -> int:
    name = supervisord.given_up or "supervisord"
    print(f"{name} could not be kept running; why is in the lines above", file=sys.stderr)
    return 1


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stop
