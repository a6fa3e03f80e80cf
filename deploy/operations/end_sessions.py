"""`make end-sessions USER=ann`: log a user out on every device, of whichever stack runs from this folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping

from deploy.docker import docker
from deploy.lock import holder
from deploy.native.options import read_environ, read_options
from deploy.native.running import find_running
from deploy.paths import ROOT
from deploy.refused import Refused

COMMAND = ("-m", "app.end_sessions")
REDIS = ("REDIS_URL", "REDIS_URL_FILE")  # of which the workers have one


def end_sessions(name: str, environ: Mapping[str, str], reason: str = "administrator") -> int:
    """The exit code of `python -m app.end_sessions NAME`, run where the workers' Redis can be reached.

    That is beside `make run`, or inside the app container.  Refused when neither runs and no REDIS_URL
    says where else the sessions are.
    """
    environ = read_environ(environ)
    options = read_options(environ)
    if (running := holder(options.stack_dir / "run.pid")) or options.redis_url:
        own = {"STACK_DIR": str(options.stack_dir)}
        if running and not options.redis_url and (found := find_running(options)):
            if not found.options.has_workers:
                raise Refused("an edge host has no sessions: run this on a host with workers")
            own |= {name: url for name in REDIS if (url := found.environ.get(name))}
        command = [sys.executable, *COMMAND, "--reason", reason, "--", name]
        return subprocess.run(command, cwd=ROOT, env={**environ, **own}, check=False).returncode
    if _app_container_runs(environ):
        command = ["docker", "compose", "exec", "-T", "app", "python"]
        command += [*COMMAND, "--reason", reason, "--", name]
        return subprocess.run(command, cwd=ROOT, env=dict(environ), check=False).returncode
    raise Refused("no stack runs here: `make run` or `docker compose up` first, or give REDIS_URL")


def _app_container_runs(environ: Mapping[str, str]) -> bool:
    if shutil.which("docker", path=environ.get("PATH")) is None:
        return False
    command = ("compose", "ps", "--status", "running", "--services")
    return "app" in docker(*command, environ=environ, check=False).split()
