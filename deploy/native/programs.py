"""The workers of the native stack as programs, and the supervisord that runs them."""

from __future__ import annotations

from deploy.native.options import Options
from deploy.supervisor.daemon import Supervisord
from deploy.supervisor.programs import Program, worker_program
from deploy.supervisor.workers import Workers
from deploy.upstream.read import Server


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
