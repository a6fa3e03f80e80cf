"""Operations as this project does them: its own commands, each a process of its own, as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path

from deploy.native.options import read_options
from deploy.native.programs import supervisord_of
from deploy.native.site import NativeSite
from deploy.paths import ROOT
from deploy.refused import Refused
from deploy.upstream.read import read_upstream, worker_name

SETTLE_SECONDS = 1.0  # until only nginx's new processes answer


class Ours(ABC):
    """What is the same wherever the stack runs: each operation is a command of `python -m deploy`."""

    def __init__(self, url: str, upstream_conf: Path) -> None:
        self.url = url
        self._upstream_conf = upstream_conf

    @abstractmethod
    def deploy(self, *arguments: str) -> None:
        """Run it; Refused when it fails."""

    def workers(self) -> list[int]:
        return [server.port for server in read_upstream(self._upstream_conf).workers]

    def reload(self) -> None:
        self.deploy("reload")

    def restart_all(self) -> None:
        self.deploy("rolling-restart")

    def scale(self, number: int) -> None:
        self.deploy("scale", str(number))

    def drain(self, port: int) -> None:
        self.deploy("drain", str(port))

    def undrain(self, port: int) -> None:
        self.deploy("undrain", str(port))


class OursNative(Ours):
    """A native stack."""

    def __init__(self, stack: NativeSite) -> None:
        super().__init__(stack.url, stack.upstream_conf)
        own = {"STACK": "native", "STACK_DIR": str(stack.state), "ENV_FILE": ""}
        self._environ = {**os.environ, **own}
        self.supervisord = supervisord_of(read_options(own))

    def reload_as_it_is(self) -> None:
        """nginx reads its rendered files again, whatever was changed in them."""
        self.supervisord.signal_program("nginx", "HUP")
        time.sleep(SETTLE_SECONDS)

    def send_signal(self, port: int, name: str) -> None:
        self.supervisord.signal_program(worker_name(port), name)

    def deploy(self, *arguments: str) -> None:
        result = subprocess.run(
            [sys.executable, "-m", "deploy", *arguments],
            cwd=ROOT,
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise Refused(f"{' '.join(arguments)}: {result.stderr or result.stdout}")
