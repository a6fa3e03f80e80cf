"""Operations as this project does them: its own commands, each a process of its own, as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from deploy.native.options import read_options
from deploy.native.programs import supervisord_of
from deploy.native.site import NativeSite
from deploy.paths import ROOT
from deploy.refused import Refused
from deploy.upstream.read import read_upstream, worker_name

SETTLE_SECONDS = 1.0  # until only nginx's new processes answer


class OursNative:
    """A native stack driven by `python -m deploy`."""

    def __init__(self, stack: NativeSite) -> None:
        self.url = stack.url
        own = {"STACK": "native", "STACK_DIR": str(stack.state), "ENV_FILE": ""}
        self._environ = {**os.environ, **own}
        self._upstream_conf = stack.upstream_conf
        self._supervisord = supervisord_of(read_options(own))

    def workers(self) -> list[int]:
        return [server.port for server in read_upstream(self._upstream_conf).workers]

    def reload(self) -> None:
        self._run("reload")

    def reload_as_it_is(self) -> None:
        """nginx reads its rendered files again, whatever was changed in them."""
        self._supervisord.signal_program("nginx", "HUP")
        time.sleep(SETTLE_SECONDS)

    def restart_all(self) -> None:
        self._run("rolling-restart")

    def scale(self, number: int) -> None:
        self._run("scale", str(number))

    def drain(self, port: int) -> None:
        self._run("drain", str(port))

    def undrain(self, port: int) -> None:
        self._run("undrain", str(port))

    def send_signal(self, port: int, name: str) -> None:
        self._supervisord.signal_program(worker_name(port), name)

    def _run(self, *arguments: str) -> None:
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
