"""A host with a part of the stack: what an operator does on it, `make run ROLE=…` with a file of settings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from deploy.native.options import read_environ, read_options
from deploy.native.programs import supervisord_of
from deploy.native.scratch import end_run, start_run, wait_for_start
from deploy.paths import ROOT
from lab.hosts.network import Host

KEPT = ("PATH", "HOME", "LANG")  # of this process's environment; everything else is in the file


class Machine:
    """`settings` are those of its file; `folder` holds that, its upstream.conf and its STACK_DIR."""

    def __init__(
        self, host: Host, folder: Path, upstream: str, settings: Mapping[str, str]
    ) -> None:
        self.host = host
        self.name, self.address = host.name, host.address
        self.upstream_conf = folder / "upstream.conf"
        self.state = folder / "state"
        folder.mkdir(mode=0o700, parents=True)
        self.upstream_conf.write_text(upstream)
        own = {"STACK_DIR": str(self.state), "UPSTREAM_CONF": str(self.upstream_conf)}
        file = folder / "env"
        file.touch(mode=0o600)
        file.write_text("".join(f"{name}={value}\n" for name, value in {**settings, **own}.items()))
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        self.environ = {**kept, "ENV_FILE": str(file), "STACK": "native"}
        self._process: subprocess.Popen[str] | None = None

    def begin(self, **more: str) -> None:
        """Start what this host has; `more` are variables for its programs, beside those of its file."""
        self._process = start_run({**self.environ, **more}, before=self.host.command())

    def wait(self) -> None:
        """Return when it is ready; Refused repeats what it said instead."""
        assert self._process is not None
        wait_for_start(self._process)

    def start(self, **more: str) -> None:
        self.begin(**more)
        self.wait()

    def stop(self) -> None:
        """As Ctrl-C does: in good order."""
        if self._process is not None:
            end_run(self._process)
            self._process = None

    def lose_power(self) -> None:
        """Every process is gone at once."""
        self.host.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def freeze(self) -> None:
        """Every process stands still; the kernel goes on taking connections."""
        self.host.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.host.signal(signal.SIGCONT)

    def pids(self) -> dict[str, int]:
        """The process of each program that runs: `nginx`, `worker-8001`."""
        return supervisord_of(read_options(read_environ(self.environ))).pids()

    def nginx(self) -> list[int]:
        """nginx's processes, the master first; none while it does not run."""
        try:
            master = psutil.Process(self.pids()["nginx"])
            return [master.pid, *(child.pid for child in master.children())]
        except (KeyError, psutil.NoSuchProcess):
            return []

    def operate(self, *words: str) -> tuple[int, str]:
        """The exit code of `python -m deploy WORDS` there, and what it said."""
        command = self.host.command(sys.executable, "-m", "deploy", *words)
        done = subprocess.run(
            command, env=self.environ, cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr
