"""The stack that `make run` started in this STACK_DIR, with the settings it was started with."""

from __future__ import annotations

import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from deploy.native import binaries
from deploy.native.applied import Changes, keep_applied, look
from deploy.native.nginx import prepare_nginx, write_files
from deploy.native.options import Options
from deploy.native.programs import native_workers, supervisord_of
from deploy.native.running import find_running
from deploy.native.settings_check import check_settings
from deploy.native.site import NativeSite
from deploy.native.store import redis_url
from deploy.native.worker import read_applied, with_changes
from deploy.operations.elsewhere import answers
from deploy.operations.stack import NginxProcess, resolves
from deploy.operations.store import given_url, store_figures
from deploy.operations.visit import begin_session
from deploy.supervisor.figures import worker_figures
from deploy.supervisor.workers import Workers

LOG_BYTES = 20_000


class NativeStack:
    """`options` and `environ` are those of the running stack, not those of the caller."""

    def __init__(self, options: Options, environ: Mapping[str, str]) -> None:
        self.options = options
        self.site_url = options.site_url
        self.name = f"the stack of `make run` at {options.place}"
        self.url = options.http_url
        self.role = options.role
        self.upstream_conf = options.upstream_conf
        self.own = options.own
        self.state = options.stack_dir
        self.supervisord = supervisord_of(options)
        self._environ = environ

    def site(self) -> NativeSite:
        """This stack as an experiment has to know it."""
        own = {"STACK": "native", "ENV_FILE": ""}
        own |= {"STACK_DIR": str(self.state), "UPSTREAM_CONF": str(self.upstream_conf)}
        return NativeSite(
            url=self.url,
            http_port=self.options.http_port,
            https_port=self.options.https.port,
            worker_ports=tuple(self.supervisord.workers()),
            state=self.state,
            upstream_conf=self.upstream_conf,
            settings=own,
        )

    def places(self) -> list[Workers]:
        return [native_workers(self.options)]

    @contextmanager
    def settings(self) -> Iterator[list[str]]:
        changes = look(self._environ, self.state)
        if self.options.has_workers:
            check_settings(with_changes(self._environ, changes.values))
        before = read_applied(self.state)
        keep_applied(self.state, changes.values)
        try:
            yield sentences(changes)
        except BaseException:
            keep_applied(self.state, before)
            raise

    def reads_users(self, path: Path) -> bool:
        return (
            self.options.has_workers
            and Path(self._environ["USERS_FILE"]).resolve() == path.resolve()
        )

    def resolves(self, host: str) -> bool:
        return resolves(host)

    def test_nginx(self) -> None:
        if not self.options.has_nginx:
            return
        with TemporaryDirectory() as folder:  # the running nginx keeps its own copy
            prepare_nginx(replace(self.options, stack_dir=Path(folder)))

    def reload_nginx(self) -> None:
        write_files(self.options)
        self.supervisord.signal_program("nginx", "HUP")

    def nginx_processes(self) -> list[NginxProcess]:
        found = []
        for process in self._nginx_children():
            try:
                title, born = " ".join(process.cmdline()), process.create_time()
            except psutil.Error:
                continue  # it has just ended
            if title.startswith("nginx: worker process"):
                age = time.time() - born
                found.append(NginxProcess(process.pid, age, "shutting down" in title))
        return found

    def nginx_log(self) -> str:
        path = self.options.logs / "nginx.log"
        if not path.exists():
            return ""
        return path.read_bytes()[-LOG_BYTES:].decode("utf-8", "replace")

    def openssl(self) -> dict[str, str]:
        nginx = binaries.nginx(self.options.nginx_program)
        said = subprocess.run([nginx, "-V"], capture_output=True, text=True, check=False)
        return {"nginx": said.stderr, "Python": ssl.OPENSSL_VERSION}

    def answers(self, host: str, port: int) -> bool:
        return answers(host, port)

    def figures(self, host: str, port: int) -> dict[str, Any]:
        return worker_figures(port, host.strip("[]"))

    def begin_session(self) -> dict[str, str]:
        return begin_session(with_changes(self._environ, read_applied(self.state)))

    def store(self, *, count: bool = True) -> dict[str, Any]:
        if not (self.options.has_workers or self.options.redis_url):
            return {}
        own = not self.options.redis_url
        url = redis_url(self.options, "status") if own else given_url(self._environ)
        return store_figures(url, self.options.session_prefix, count=count)

    def _nginx_children(self) -> list[psutil.Process]:
        for info in self.supervisord.processes():
            if info["name"] == "nginx" and info["pid"]:
                try:
                    return list(psutil.Process(info["pid"]).children())
                except psutil.NoSuchProcess:
                    break
        return []


def sentences(changes: Changes) -> list[str]:
    """What the user must know of a file that has changed."""
    told = []
    if changes.taken:
        told.append(f"new settings: {', '.join(changes.taken)}")
    if changes.need_a_start:
        names = ", ".join(changes.need_a_start)
        told.append(f"not yet in effect: {names}, which `make stop` and `make run` apply")
    if changes.overruled:
        names = ", ".join(changes.overruled)
        told.append(f"without effect: {names}, which the shell gave to `make run`")
    return told


def find_native(options: Options) -> NativeStack | None:
    """The stack of `options.stack_dir`, or None when none runs there; Refused while it is starting."""
    running = find_running(options)
    return NativeStack(running.options, running.environ) if running else None
