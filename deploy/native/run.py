"""`make run`: start the native stack, say where it is, and stop all of it on Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from types import FrameType

from deploy.counted import counted
from deploy.lock import Held, held
from deploy.native.applied import forget_applied
from deploy.native.attend import attend
from deploy.native.leftovers import kill_session
from deploy.native.nginx import check_names, nginx_command, prepare_nginx
from deploy.native.options import Options
from deploy.native.ports import check_ports
from deploy.native.programs import native_worker, native_workers, supervisord_of
from deploy.native.progress import StartFailed, wait_until_ready
from deploy.native.roles import check_role
from deploy.native.running import find_running
from deploy.native.settings_check import check_settings
from deploy.native.stop import is_left, stop_left
from deploy.native.store import redis_url, store_programs
from deploy.output import never_silent
from deploy.refused import Refused
from deploy.supervisor.daemon import Supervisord
from deploy.supervisor.programs import NGINX_PRIORITY, Program, watchdog_program, write_programs
from deploy.supervisor.start import start_supervisord
from deploy.upstream.lint import check_upstream
from deploy.upstream.read import Upstream, read_upstream, text_of

LOG_LINES = 12
FREE_SECONDS = 5.0
# How long nginx may finish what it is answering; event streams would never end by themselves.
STREAMS_SECONDS = 3


class Stop(KeyboardInterrupt):
    """Ctrl-C, SIGTERM, or the terminal is gone."""


def run(options: Options, environ: Mapping[str, str]) -> None:
    """Run the stack in the foreground until told to stop.  Refused says why it cannot, or ended by itself."""
    upstream = read_upstream(options.upstream_conf, options.own)
    check_upstream(upstream)
    check_role(options, environ, upstream)
    check_names(options)
    private = 0o700  # it will hold who is logged in
    options.stack_dir.mkdir(mode=private, parents=True, exist_ok=True)
    options.logs.mkdir(exist_ok=True)
    try:
        with held(options.stack_dir / "run.pid"):
            if not _end_leftover(options, upstream):
                check_ports(options, upstream)
            known = _environ(options, environ)
            if options.has_workers:
                check_settings(known)
            if options.has_nginx:
                prepare_nginx(options)
            _supervise(options, upstream, known)
    except Held as error:
        raise Refused(_already(options, error.pid)) from None


def _already(options: Options, pid: int) -> str:
    """Where the other one answers, by its own settings."""
    running = find_running(options)
    where = running.options.place if running else options.stack_dir
    return f"the stack is already running at {where} (process {pid}); `make stop` ends it"


def _end_leftover(options: Options, upstream: Upstream) -> bool:
    """End what a killed `make run` has left, until its ports are free; whether there was anything."""
    if not is_left(options):
        return False
    print("an earlier stack has not been stopped: stopping it first", flush=True)
    with never_silent():
        stop_left(options)
    deadline = time.monotonic() + FREE_SECONDS
    while True:
        try:
            check_ports(options, upstream)
        except Refused:  # of a killed process the last thread closes its ports, a little later
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return True


def _supervise(options: Options, upstream: Upstream, environ: Mapping[str, str]) -> None:
    supervisord = supervisord_of(options)
    write_programs(supervisord.programs, native_programs(options, upstream))
    native_workers(options).keep(text_of(options.upstream_conf))
    forget_applied(options.stack_dir)
    _stop_on_signals()
    process: subprocess.Popen[bytes] | None = None
    try:
        log = options.logs / "supervisord.log"
        process = start_supervisord(supervisord, environ, log=log, quiet=True)
        wait_until_ready(options, upstream, supervisord, process)
        print(_welcome(options, upstream, environ), flush=True)
        attend(options, process)
        raise Refused(_last_words(supervisord.given_up or "supervisord", options))
    except Stop:
        print("\nstopping", flush=True)
    except StartFailed as error:
        raise Refused(_last_words(error.name, options)) from None
    finally:
        if process:
            with never_silent():
                _stop_everything(supervisord, process, upstream, options)


def native_programs(options: Options, upstream: Upstream) -> list[Program]:
    """Everything that supervisord keeps running on this host."""
    workers = [native_worker(options, server) for server in upstream.workers]
    redis = store_programs(options) if options.starts_redis else []
    nginx = [_nginx(options)] if options.has_nginx else []
    watches = bool(options.https.times.watchdog_seconds) and options.has_workers
    watchdog = [watchdog_program(options.logs / "watchdog.log")] if watches else []
    return [*workers, *redis, *nginx, *watchdog]


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


def _environ(options: Options, environ: Mapping[str, str]) -> dict[str, str]:
    """What the programs see: the settings as given, and what only this stack can know."""
    known = {"STACK_DIR": str(options.stack_dir), "PYTHONUNBUFFERED": "1"}
    if options.starts_redis:
        known["REDIS_URL"] = redis_url(options)
    if options.has_workers and not environ.get("USERS_FILE"):
        users = options.stack_dir / "users"
        users.touch(mode=0o600)  # so that the first `make user` finds workers that look at it
        known["USERS_FILE"] = str(users)
    return {**environ, **known}


def _stop_everything(
    supervisord: Supervisord, process: subprocess.Popen[bytes], upstream: Upstream, options: Options
) -> None:
    """nginx first, then the workers together, then Redis; a second Ctrl-C kills what is left."""
    try:
        # Somebody may have stopped it, and then it does nothing.
        process.send_signal(signal.SIGCONT)
        if options.has_nginx:
            supervisord.stop(["nginx"])
        supervisord.stop(server.name for server in upstream.workers)
        supervisord.shut_down(process)
    except Stop:
        process.kill()
        process.wait()
    kill_session(process.pid, supervisord.mark)
    options.forget_sockets()


def _last_words(name: str, options: Options) -> str:
    """What `name` logged last, under a line that says it cannot be kept running."""
    log = options.logs / f"{name}.log"
    text = log.read_text(errors="replace") if log.exists() else ""
    lines = [f"  {line}" for line in text.splitlines()[-LOG_LINES:]]
    return "\n".join([f"{name} cannot be kept running; the end of {log}:", *lines])


def _welcome(options: Options, upstream: Upstream, environ: Mapping[str, str]) -> str:
    if options.has_nginx:
        about = _about(options, upstream, environ)
        lines = [f"{options.site_url}/   {about}", *_https_lines(options)]
    else:
        ports = ", ".join(str(server.port) for server in upstream.workers)
        lines = [f"workers on {options.workers_bind}, port {ports}; no nginx here"]
    lines.append(f"logs: {os.path.relpath(options.logs)}   stop: Ctrl-C")
    return "\n  " + "\n  ".join(lines) + "\n"


def _about(options: Options, upstream: Upstream, environ: Mapping[str, str]) -> str:
    if not options.has_workers:
        return f"{counted(len(upstream.served), 'server')} in use, none started here"
    if (environ.get("APP_ENV") or "demo") != "demo":
        return "log in with a name of USERS_FILE"
    if environ.get("DEMO_PASSWORD") or environ.get("DEMO_PASSWORD_FILE"):
        return "log in with any name and your DEMO_PASSWORD"
    return "log in with any name and the password `demo`"


def _https_lines(options: Options) -> list[str]:
    if options.https.only:
        return []
    warning = "" if options.https.given else "; browsers warn, as its certificate is self-signed"
    return [f"{options.https_url}/  the same over https{warning}"]


def _stop_on_signals() -> None:
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as it is under nohup
        signal.signal(signal.SIGHUP, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stop
