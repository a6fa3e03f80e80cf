"""The stack that `make run` started in this STACK_DIR, with the settings it was started with."""

from __future__ import annotations

import ssl
import subprocess
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from deploy.native import binaries
from deploy.native.nginx import prepare_nginx, write_files
from deploy.native.options import Options
from deploy.native.programs import native_workers, supervisord_of
from deploy.native.running import find_running
from deploy.native.site import NativeSite
from deploy.operations.elsewhere import FromHere
from deploy.operations.stack import NginxProcess
from deploy.supervisor.workers import Workers

LOG_BYTES = 20_000

# What a reload has no use for is imported where it is used: settings, sessions and Redis.


class NativeStack(FromHere):
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

    def settings(self) -> AbstractContextManager[list[str]]:
        from deploy.native.applied import taken_over

        return taken_over(self._environ, self.state, tried=self.options.has_workers)

    def reads_users(self, path: Path) -> bool:
        return (
            self.options.has_workers
            and Path(self._environ["USERS_FILE"]).resolve() == path.resolve()
        )

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

    def begin_session(self) -> dict[str, str]:
        from deploy.native.worker import read_applied, with_changes
        from deploy.operations.visit import begin_session

        return begin_session(with_changes(self._environ, read_applied(self.state)))

    def store(self, *, count: bool = True) -> dict[str, Any]:
        from deploy.native.store import has_own_redis, redis_url
        from deploy.operations.store import given_url, store_figures

        if not (self.options.has_workers or self.options.redis_url):
            return {}
        own = has_own_redis(self.options)
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


def find_native(options: Options) -> NativeStack | None:
    """The stack of `options.stack_dir`, or None when none runs there; Refused while it is starting."""
    running = find_running(options)
    return NativeStack(running.options, running.environ) if running else None
