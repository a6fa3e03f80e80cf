"""Operations as this project does them: its own commands, each a process of its own, as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.native.scratch import Scratch
from deploy.paths import ROOT
from deploy.refused import Refused
from deploy.supervisor.daemon import Supervisord
from deploy.upstream import read_upstream, worker_name


class Ours:
    """A stack driven by `python -m deploy`."""

    def __init__(
        self, url: str, upstream_conf: Path, folder: Path, environ: Mapping[str, str]
    ) -> None:
        self.url = url
        self._upstream_conf = upstream_conf
        self._folder = folder  # where `python -m deploy` is run
        self._environ = dict(environ)

    def workers(self) -> list[int]:
        return [server.port for server in read_upstream(self._upstream_conf).workers]

    def reload(self) -> None:
        self._run("reload")

    def restart_all(self) -> None:
        self._run("rolling-restart")

    def scale(self, number: int) -> None:
        self._run("scale", str(number))

    def drain(self, port: int) -> None:
        self._run("drain", str(port))

    def undrain(self, port: int) -> None:
        self._run("undrain", str(port))

    def send_signal(self, port: int, name: str) -> None:
        raise NotImplementedError

    def _run(self, *words: str) -> None:
        result = subprocess.run(
            [sys.executable, "-m", "deploy", *words],
            cwd=self._folder,
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise Refused(f"{' '.join(words)}: {result.stderr or result.stdout}")


class OursNative(Ours):
    """A native stack."""

    def __init__(self, stack: Scratch) -> None:
        state = stack.folder / "state"
        own = {"STACK": "native", "STACK_DIR": str(state), "ENV_FILE": ""}
        super().__init__(stack.url, stack.folder / "upstream.conf", ROOT, {**os.environ, **own})
        self._supervisord = Supervisord(state / "supervisor", state / "supervisor.sock")

    def send_signal(self, port: int, name: str) -> None:
        self._supervisord.signal_program(worker_name(port), name)
