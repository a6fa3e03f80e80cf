"""The programs of the native stack (Redis unless one is given, the workers, nginx) and who runs them."""

from __future__ import annotations

import sys

from deploy.native.nginx import nginx_command
from deploy.native.options import Options
from deploy.supervisor.daemon import Supervisord
from deploy.supervisor.programs import (
    NGINX_PRIORITY,
    Program,
    watchdog_program,
    worker_program,
)
from deploy.supervisor.workers import Workers
from deploy.upstream.read import Server, Upstream

# How long nginx may finish what it is answering; event streams would never end by themselves.
STREAMS_SECONDS = 3


def native_programs(options: Options, upstream: Upstream) -> list[Program]:
    """Everything that supervisord keeps running on this host."""
    from deploy.native.store import (
        store_programs,  # the rest of this file is for who changes workers, too
    )

    workers = [native_worker(options, server) for server in upstream.workers]
    redis = [] if options.redis_url or not options.has_workers else store_programs(options)
    nginx = [_nginx(options)] if options.has_nginx else []
    watches = bool(options.https.times.watchdog_seconds) and options.has_workers
    watchdog = [watchdog_program(options.logs / "watchdog.log")] if watches else []
    return [*workers, *redis, *nginx, *watchdog]


def native_worker(options: Options, server: Server) -> Program:
    """One worker, with a log of its own; deploy/native/attend.py keeps all logs from growing for ever."""
    return worker_program(
        server,
        host=options.workers_bind,
        drain_seconds=options.drain_seconds,
        output=options.logs / f"{server.name}.log",
        watched=None if options.dev else supervisord_of(options).watched(server.name),
        start=("deploy.native.worker", "app.dev" if options.dev else "app"),
    )


def supervisord_of(options: Options) -> Supervisord:
    """The supervisord of this STACK_DIR, running or not."""
    return Supervisord(options.stack_dir / "supervisor", options.socket("supervisor.sock"))


def native_workers(options: Options) -> Workers:
    """The workers of this STACK_DIR, to be changed while they run."""
    return Workers(
        supervisord_of(options),
        options.workers_bind,
        lambda server: native_worker(options, server),
        asked=options.workers_bind,
    )


def _nginx(options: Options) -> Program:
    start = [sys.executable, "-m", "deploy.native.nginx_start", str(options.nginx / "nginx.pid")]
    return Program(
        "nginx",
        [*start, *nginx_command(options)],
        NGINX_PRIORITY,
        STREAMS_SECONDS,
        options.logs / "access.log",
        errors=options.logs / "nginx.log",
        stop_signal="QUIT",  # finish what is being answered; TERM would cut it off
    )
