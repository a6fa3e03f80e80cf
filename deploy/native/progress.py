"""Waiting until the stack is ready, telling what is ready so far."""

from __future__ import annotations

import subprocess
import sys
import time

from deploy.native.options import Options
from deploy.refused import Refused
from deploy.supervisor.daemon import Supervisord
from deploy.supervisor.health import readiness
from deploy.upstream.read import Upstream

START_SECONDS = 30.0
SPAWN_FAILED = {"BACKOFF", "EXITED", "FATAL"}


class StartFailed(Exception):
    """A program ended instead of starting; `name` says which."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def wait_until_ready(
    options: Options,
    upstream: Upstream,
    supervisord: Supervisord,
    process: subprocess.Popen[bytes],
) -> None:
    """Return when every worker and nginx answer.

    Raises StartFailed as soon as a program has died at start (trying again would only hide why), and
    Refused when something is not ready in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        problems = {server.name: readiness(server.port) for server in upstream.workers}
        # nginx last: asked earlier, it would try the workers, find them away, and not ask again at once.
        early = any(problems.values())
        problems["nginx"] = "waits for the workers" if early else _nginx_problem(options)
        waiting = {name: problem for name, problem in problems.items() if problem}
        _show(len(problems) - len(waiting), len(problems))
        if not waiting:
            return
        for name, state in supervisord.states().items():
            if state in SPAWN_FAILED:
                raise StartFailed(name)
        if process.poll() is not None:
            raise StartFailed("supervisord")
        if time.monotonic() > deadline:
            name, problem = next(iter(waiting.items()))
            where = _store_named(options.redis_url or "")
            raise Refused(f"{name} is not ready after {START_SECONDS:g} s: {problem}{where}")
        time.sleep(0.05)


def _store_named(url: str) -> str:
    """Where the workers look for Redis, where that was given; without the password."""
    kind, mark, rest = url.partition("://")
    return f"\nREDIS_URL is {kind}://{rest.rpartition('@')[2]}" if mark else ""


def _nginx_problem(options: Options) -> str | None:
    return readiness(options.http_port, host=options.visible_host, path="/healthz")


def _show(ready: int, total: int) -> None:
    """Redraw the one line of progress; a log file or pipe gets only what follows."""
    if sys.stdout.isatty():
        end = "\n" if ready == total else ""
        print(f"\rstarting: {ready} of {total} servers ready", end=end, flush=True)
