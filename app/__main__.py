"""Start one worker: read settings, open Redis, listen, and drain on SIGTERM.

`python -m app --port 8001`; `python -m app --check` only reports whether the settings can be used.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import logging
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvloop
from tornado.netutil import bind_sockets

from app import throttle
from app.accounts import Accounts, UsersFile, UsersFileError
from app.audit import Audit
from app.cookie import SessionCookie
from app.deadline import end_late_pages
from app.drain import drain
from app.events.hub import CHANNEL, Hub
from app.from_nginx import Server
from app.handlers.base import Services, Worker
from app.handlers.login import STAY_ABSOLUTE_SECONDS
from app.logs import write_logs
from app.memory import give_back
from app.metrics import Metrics
from app.sessions import (
    Notices,
    Pipeline,
    RedisSessions,
    StoreUnavailable,
    Subscription,
    check_rights,
)
from app.settings import Settings, SettingsError, read_settings
from app.throttle import Rules, Throttle
from app.watched import answer_hanging, progress_counter, times_started
from app.web import make_app

ANY_ADDRESS = ("0.0.0.0", "::", "")
BACKLOG = 4096  # connections the kernel queues; Tornado's 128 would refuse a burst after a reload
HEADER_BYTES = 80 * 1024  # what nginx lets through, 64 KiB, and what it adds

log = logging.getLogger("app")


@dataclass(frozen=True)
class Options:
    host: str
    port: int
    watched: Path | None  # what the files for a watchdog are called; see app/watched.py


@dataclass(frozen=True)
class Handover:
    """From app.dev: sockets that the worker before this one listens on too, and whom to tell that it may stop."""

    sockets: list[socket.socket]
    ready: Callable[[], object]


def main(handover: Handover | None = None) -> int:
    options = parse_arguments()
    try:
        settings = read_settings()
        accounts = _accounts(settings)
    except SettingsError as error:
        print(*(f"app: {problem}" for problem in error.problems), sep="\n", file=sys.stderr)
        return 2
    if options is None:
        return 0
    worker = Worker(
        name=worker_name(options.host, options.port),
        boot=secrets.token_hex(4),
        served_by=settings.served_by,
    )
    if options.watched and settings.watchdog_seconds:
        worker.note_progress = progress_counter(options.watched)
    write_logs(worker.name)
    with ExitStack() as at_the_end:
        if settings.traces:
            from app.traces import trace_requests

            at_the_end.callback(trace_requests(settings.traces, worker.name))
        try:
            uvloop.run(serve(settings, accounts, worker, options, handover))
        except OSError as error:
            at = f"{options.host}:{options.port}"
            print(f"app: cannot listen on {at}: {error.strerror}", file=sys.stderr)
            return 1
    return 0


def parse_arguments() -> Options | None:
    """Where to listen; None when only the settings are to be checked."""
    parser = argparse.ArgumentParser(prog="python -m app", description="One worker of the stack.")
    parser.add_argument("--port", type=int, help="port to listen on")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)"
    )
    parser.add_argument(
        "--watched", type=Path, metavar="PATH", help="write PATH.progress and PATH.stack"
    )
    parser.add_argument(
        "--check", action="store_true", help="read the settings, report what is wrong, and exit"
    )
    arguments = parser.parse_args()
    if arguments.check:
        return None
    if arguments.port is None:
        parser.error("--port is missing: python -m app --port 8001")
    if not 1 <= arguments.port <= 65535:
        parser.error(f"--port {arguments.port} is not a port: use 1 to 65535")
    return Options(arguments.host, arguments.port, arguments.watched)


def worker_name(host: str, port: int) -> str:
    """The value of X-Served-By: the address, or this machine's name where it listens on every address."""
    return f"{socket.gethostname() if host in ANY_ADDRESS else host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _accounts(settings: Settings) -> Accounts:
    if settings.users_file is None:
        return Accounts({}, settings.demo_password)
    try:
        file = UsersFile(settings.users_file)
    except UsersFileError as error:
        raise SettingsError(f"USERS_FILE: {error}") from error
    return Accounts(file.users, settings.demo_password, file.look)


async def serve(
    settings: Settings,
    accounts: Accounts,
    worker: Worker,
    options: Options,
    handover: Handover | None = None,
) -> None:
    """Answer requests until SIGTERM or SIGINT, then drain."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    answer_hanging(worker, options.watched)
    services, pipeline = _services(settings, accounts, worker, options.watched)
    hub, audit = services.hub, services.audit
    audit.write("start", settings=settings.shown())
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, hub.move)
    server = _server(services, options.host, keep_alive=handover is None)
    rights = partial(_check_rights, pipeline, settings)
    if handover is None:
        server.add_sockets(bind_sockets(options.port, options.host or None, backlog=BACKLOG))
    running = [
        asyncio.create_task(_become_ready(worker, rights, server, handover)),
        asyncio.create_task(hub.run()),
        asyncio.create_task(services.metrics.keep_time()),
        asyncio.create_task(end_late_pages(worker, settings.page_seconds)),
        asyncio.create_task(give_back(hub.most_open, lambda: len(hub.open))),
    ]
    for task in running:
        task.add_done_callback(_log_failure)
    await stop.wait()
    await drain(server, worker, hub, settings.drain_seconds, succeeded=handover is not None)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await pipeline.close()
    audit.write("stop")
    audit.close()


def _services(
    settings: Settings, accounts: Accounts, worker: Worker, watched: Path | None
) -> tuple[Services, Pipeline]:
    """Everything that handlers use, made once; the pipeline is to be closed at the end."""
    metrics = Metrics()
    url, timeout = settings.redis_url, settings.redis_timeout_seconds
    pipeline = Pipeline(
        url,
        timeout_seconds=timeout,
        observe=metrics.store_latency.note,
        acknowledged_by=settings.writes_acknowledged_by,
    )
    prefix = settings.session_prefix
    audit = Audit(settings.stack_dir, worker.name)
    sessions = RedisSessions(pipeline, settings.limits, prefix=prefix, on_event=audit.of_session)
    notices = Notices(
        pipeline,
        Subscription(url, timeout_seconds=timeout),
        field="visits",
        heartbeat_seconds=settings.events_heartbeat_seconds,
        prefix=prefix,
    )
    hub = Hub(notices, worker.shown)
    metrics.watch(
        sessions.counters,
        totals={"alerts_dropped": lambda: hub.dropped, **times_started(watched)},
        gauges={
            "requests_in_flight": lambda: worker.in_flight,
            "event_streams": lambda: len(hub.open),
            "password_checks_waiting": lambda: accounts.waiting,
            "worker_ready": lambda: int(worker.ready),
        },
        labelled={
            "security_events": (("event", "reason"), lambda: audit.counts),
            "session_store_errors": (("kind",), lambda: sessions.counters.errors_by_kind),
        },
    )
    cookie = SessionCookie(
        settings.session_secrets,
        max(settings.limits.absolute_seconds, STAY_ABSOLUTE_SECONDS),
        settings.session_cookie_name,
    )
    slowed = Throttle(pipeline, Rules(free_failures=settings.login_tries), prefix)
    return Services(
        worker, settings, sessions, cookie, accounts, hub, slowed, metrics, audit
    ), pipeline


async def _check_rights(pipeline: Pipeline, settings: Settings) -> None:
    prefix = settings.session_prefix
    await check_rights(
        pipeline,
        prefix=prefix,
        others=(throttle.SCRIPT,),
        keys=(throttle.key_of("-", prefix),),
        channels=(prefix + CHANNEL,),
    )


def _log_failure(task: asyncio.Task[None]) -> None:
    """A background task that fails is a mistake in this program; requests are still answered."""
    if not task.cancelled() and task.exception() is not None:
        log.error("a background task failed", exc_info=task.exception())


def _server(services: Services, host: str, *, keep_alive: bool) -> Server:
    app = make_app(services)
    body_bytes = app.settings["body_bytes"]
    server = Server(
        app,
        no_keep_alive=not keep_alive,
        xheaders=True,  # nginx overwrites them
        max_body_size=body_bytes,
        max_header_size=HEADER_BYTES,
        max_buffer_size=4 * body_bytes,
        body_timeout=10,
        idle_connection_timeout=3600,  # longer than nginx's 60 s: nginx closes first, no 502 race
    )
    server.secret = services.settings.nginx_secret
    server.nginx_alone = not is_loopback(host)
    return server


async def _become_ready(
    worker: Worker, check: Callable[[], Awaitable[None]], server: Server, handover: Handover | None
) -> None:
    """Take traffic once Redis allows all that is needed; later outages leave the worker in the rotation."""
    while not worker.ready:
        try:
            await check()
            worker.ready, worker.waits_for = True, ""
        except StoreUnavailable as error:
            if worker.waits_for != str(error):
                log.warning("waiting for Redis: %s", error)
            worker.waits_for = str(error)
            await asyncio.sleep(0.5)
    if handover is not None:
        server.add_sockets(handover.sockets)
        handover.ready()
    log.info("ready")


if __name__ == "__main__":
    sys.exit(main())
