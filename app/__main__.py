"""Start one worker: read settings, open Redis, listen, and drain on SIGTERM.

`python -m app --port 8001`; `python -m app --check` only says whether the settings can be used.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import signal
import socket
import sys
from dataclasses import dataclass

import uvloop
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from app.accounts import Accounts, UsersFileError, read_users
from app.cookie import SessionCookie
from app.drain import stop_listening
from app.events.hub import Alerts
from app.handlers.base import Services, Worker
from app.logs import write_logs
from app.memory import keep_small, settle
from app.metrics import Metrics
from app.sessions import (
    Limits,
    Notices,
    Pipeline,
    RedisSessions,
    StoreUnavailable,
    Subscription,
)
from app.settings import Settings, SettingsError, read_settings
from app.throttle import Rules, Throttle
from app.web import make_app

ANY_ADDRESS = ("0.0.0.0", "::", "")
BACKLOG = 4096  # connections the kernel queues; Tornado's 128 would refuse a burst after a reload
HEADER_BYTES = 80 * 1024  # what nginx lets through, 64 KiB, and what it adds

log = logging.getLogger("app")


def main() -> int:
    options = _parse_arguments()
    try:
        settings = read_settings()
        accounts = _accounts(settings)
    except SettingsError as error:
        print(f"app: {error}", file=sys.stderr)
        return 2
    if options is None:
        return 0
    worker = Worker(name=worker_name(options.host, options.port), boot=secrets.token_hex(4))
    write_logs(worker.name)
    try:
        uvloop.run(serve(settings, accounts, worker, options))
    except OSError as error:
        print(
            f"app: cannot listen on {options.host}:{options.port}: {error.strerror}",
            file=sys.stderr,
        )
        return 1
    return 0


@dataclass(frozen=True)
class Options:
    host: str
    port: int


def _parse_arguments() -> Options | None:
    """Where to listen; None when only the settings are to be checked."""
    parser = argparse.ArgumentParser(prog="python -m app", description="One worker of the stack.")
    parser.add_argument("--port", type=int, help="port to listen on")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)"
    )
    parser.add_argument(
        "--check", action="store_true", help="read the settings, say what is wrong, and exit"
    )
    arguments = parser.parse_args()
    if arguments.check:
        return None
    if arguments.port is None:
        parser.error("--port is missing: python -m app --port 8001")
    if not 1 <= arguments.port <= 65535:
        parser.error(f"--port {arguments.port} is not a port: use 1 to 65535")
    return Options(arguments.host, arguments.port)


def worker_name(host: str, port: int) -> str:
    """What X-Served-By says: the address, or this machine's name where it listens on every address."""
    return f"{socket.gethostname() if host in ANY_ADDRESS else host}:{port}"


def _accounts(settings: Settings) -> Accounts:
    try:
        users = read_users(settings.users_file) if settings.users_file else {}
    except UsersFileError as error:
        raise SettingsError(f"USERS_FILE: {error}") from error
    if settings.production and not users:
        raise SettingsError(f"USERS_FILE={settings.users_file} has no users: make user NAME=...")
    return Accounts(users, settings.demo_password)


async def serve(settings: Settings, accounts: Accounts, worker: Worker, options: Options) -> None:
    """Answer requests until SIGTERM or SIGINT, then drain."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics = Metrics()
    pipeline = Pipeline(
        settings.redis_url,
        timeout_seconds=settings.redis_timeout_seconds,
        observe=metrics.store_latency.observe,
    )
    sessions = RedisSessions(pipeline, _limits(settings))
    alerts = _alerts(pipeline, settings, worker)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, alerts.move)
    metrics.watch(
        sessions.counters,
        {
            "requests_in_flight": lambda: worker.in_flight,
            "event_streams": lambda: len(alerts.open),
            "alerts_dropped": lambda: alerts.dropped,
        },
    )
    metrics.watch_traffic(worker.traffic)
    services = Services(
        worker=worker,
        sessions=sessions,
        cookie=SessionCookie(settings.session_secrets, settings.session_absolute_seconds),
        accounts=accounts,
        alerts=alerts,
        throttle=Throttle(pipeline, Rules(free_failures=settings.login_tries)),
        demo_hint=_demo_hint(settings),
        demo_endpoints=settings.demo_endpoints,
        served_by=settings.served_by,
    )
    server = _listen(services, metrics, settings, options)
    running = [
        asyncio.create_task(_become_ready(worker, sessions)),
        asyncio.create_task(alerts.run()),
        asyncio.create_task(worker.traffic.keep_time()),
        asyncio.create_task(
            keep_small(alerts.crowd, (sessions.forget, services.cookie.forget, alerts.shrink))
        ),
    ]
    for task in running:
        task.add_done_callback(_complain)
    settle()
    await stop.wait()
    await drain(server, worker, alerts, settings.drain_seconds)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await pipeline.close()


def _alerts(pipeline: Pipeline, settings: Settings, worker: Worker) -> Alerts:
    subscription = Subscription(settings.redis_url, timeout_seconds=settings.redis_timeout_seconds)
    notices = Notices(
        pipeline,
        subscription,
        field="visits",
        heartbeat_seconds=settings.events_heartbeat_seconds,
    )
    return Alerts(notices, {"worker": worker.name, "boot": worker.boot})


def _complain(task: asyncio.Task[None]) -> None:
    """A background task that fails is a mistake in this program; requests are still answered."""
    if not task.cancelled() and task.exception() is not None:
        log.error("a background task failed", exc_info=task.exception())


def _listen(
    services: Services, metrics: Metrics, settings: Settings, options: Options
) -> HTTPServer:
    app = make_app(services, metrics, demo_endpoints=settings.demo_endpoints)
    body_bytes = app.settings["body_bytes"]
    server = HTTPServer(
        app,
        xheaders=True,  # nginx overwrites them, and only nginx can reach this port
        max_body_size=body_bytes,
        max_header_size=HEADER_BYTES,
        max_buffer_size=4 * body_bytes,
        body_timeout=10,
        idle_connection_timeout=3600,  # longer than nginx's 60 s: nginx closes first, no 502 race
    )
    server.add_sockets(bind_sockets(options.port, options.host or None, backlog=BACKLOG))
    return server


async def _become_ready(worker: Worker, sessions: RedisSessions) -> None:
    """Take traffic once Redis has answered; later outages leave the worker in the rotation."""
    waited = False
    while not worker.ready:
        try:
            await sessions.check()
            worker.ready = True
        except StoreUnavailable as error:
            if not waited:
                log.warning("waiting for Redis: %s", error)
            waited = True
            await asyncio.sleep(0.5)
    log.info("ready")


async def drain(server: HTTPServer, worker: Worker, alerts: Alerts, seconds: float) -> None:
    """Leave without losing a request, within `seconds`.

    Each answer from now on carries `Connection: close`, so that nginx empties its pool of connections
    while new ones are still accepted; then nothing new is accepted, event streams are sent to another
    worker, and what is in flight finishes.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    worker.ready = False
    log.info("draining")
    await stop_listening(server, lambda: worker.in_flight, seconds / 2)
    await alerts.drain()
    while (worker.in_flight or alerts.open) and loop.time() < deadline:
        await asyncio.sleep(0.02)
    if worker.in_flight:
        log.warning("%d requests were cut off after %g s", worker.in_flight, seconds)
    await asyncio.sleep(0.05)  # the last answers are still on their way to the kernel
    log.info("stopped")


def _limits(settings: Settings) -> Limits:
    return Limits(
        idle_seconds=settings.session_idle_seconds,
        absolute_seconds=settings.session_absolute_seconds,
        touch_seconds=settings.session_touch_seconds,
        renew_seconds=settings.session_renew_seconds,
        renew_grace_seconds=settings.session_renew_grace_seconds,
        max_per_user=settings.session_max_per_user,
        max_bytes=settings.session_max_bytes,
        max_fields=settings.session_max_fields,
    )


def _demo_hint(settings: Settings) -> str | None:
    """What the login page tells a first visitor; a changed demo password is not given away."""
    if settings.demo_password is None:
        return None
    shown = "password demo" if settings.demo_password == "demo" else "the demo password"
    return f"Any name with {shown} logs in."


if __name__ == "__main__":
    sys.exit(main())
