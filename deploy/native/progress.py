"""Waiting until the stack is ready, telling what is ready so far."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping

from redis.exceptions import RedisError

from deploy.native.options import Options
from deploy.native.store import redis_url
from deploy.networks import reachable
from deploy.operations.redis_at import acknowledged_by, find_servers
from deploy.refused import Refused
from deploy.supervisor.daemon import Supervisord
from deploy.supervisor.health import readiness
from deploy.supervisor.start import has_ended
from deploy.upstream.read import Upstream

START_SECONDS = 30.0
SILENT_SECONDS = 5.0  # the longest that nothing is printed
SPAWN_FAILED = {"BACKOFF", "EXITED", "FATAL"}


class StartFailed(Exception):
    """A program ended instead of starting; `name` says which."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def wait_until_ready(
    options: Options, upstream: Upstream, supervisord: Supervisord, process: subprocess.Popen[bytes]
) -> None:
    """Return when every worker of this host answers, and its nginx; on an edge host nginx needs no worker yet.

    Raises StartFailed as soon as a program has died at start (trying again would only hide why), and
    Refused when something is not ready in time.
    """
    deadline = time.monotonic() + START_SECONDS
    shown = Shown()
    while True:
        problems = {
            server.name: readiness(server.port, host=options.workers_bind)
            for server in upstream.workers
        }
        early = any(problems.values())
        if options.replicas and options.starts_redis:
            problems["replicas"] = "wait for the workers" if early else replicas_problem(options)
        # nginx last: asked earlier, it would try the workers, find them away, and not ask again at once.
        if options.has_nginx:
            problems["nginx"] = "waits for the workers" if early else _nginx_problem(options)
        waiting = {name: problem for name, problem in problems.items() if problem}
        shown.show(len(problems), waiting)
        if not waiting:
            return
        for name, state in supervisord.states().items():
            if state in SPAWN_FAILED:
                raise StartFailed(name)
        if has_ended(process):
            raise StartFailed("supervisord")
        if time.monotonic() > deadline:
            where = _store_named(options.redis_url or "")
            raise Refused(f"{_first(waiting)}; not ready after {START_SECONDS:g} s{where}")
        time.sleep(0.05)


class Shown:
    """What somebody who waits sees: a line that is redrawn, and every five seconds one that says why."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def show(self, total: int, waiting: Mapping[str, str]) -> None:
        """Of `total` servers these are waited for, each with its reason."""
        now = time.monotonic()
        told = f"starting: {total - len(waiting)} of {total} servers ready"
        if waiting and now - self._since >= SILENT_SECONDS:
            self._since = now
            print(f"{_again()}{told}; {_first(waiting)}", flush=True)
        elif sys.stdout.isatty():
            print(f"{_again()}{told}", end="" if waiting else "\n", flush=True)


def _first(waiting: Mapping[str, str]) -> str:
    """The first that is waited for, and its reason."""
    name, problem = next(iter(waiting.items()))
    return f"{name}: {problem}"


def _again() -> str:
    """To the begin of the line on a terminal; a log file or pipe gets lines only."""
    return "\r" if sys.stdout.isatty() else ""


def _store_named(url: str) -> str:
    """Where the workers look for Redis, where that was given; without the password."""
    kind, mark, rest = url.partition("://")
    return f"\nREDIS_URL is {kind}://{rest.rpartition('@')[2]}" if mark else ""


def replicas_problem(options: Options) -> str | None:
    """Until a replica acknowledges what is written, the first logins would be 503."""
    try:
        (master,) = find_servers(redis_url(options, "admin")).servers.values()
        with master:
            followed = acknowledged_by(master, 1)
    except (OSError, RedisError) as error:
        return str(error)
    return None if followed else "none acknowledges what the master writes"


def _nginx_problem(options: Options) -> str | None:
    """Workers elsewhere may come later than an edge host does: there, that none is ready is an answer, too."""
    problem = readiness(options.http_port, host=reachable(options.bind), path="/healthz")
    answers = bool(problem) and str(problem).startswith("503 ")
    return None if answers and not options.has_workers else problem
