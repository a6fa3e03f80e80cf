"""Where the requests come from: wrk where it is installed (Debian's package of that name), else a process of ours.

Both keep a number of connections busy, one request at a time each, with visitors in turn, and count.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.paths import ROOT

CONNECTIONS = 32
WRK = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Target:
    """Where a handler listens, which process it is in, and who visits it."""

    name: str
    port: int
    path: str
    pid: int
    cookies: Sequence[str]


class Failed(Exception):
    """Not every answer was a 200: a ratio of such numbers would mean nothing."""


class Generator:
    """Sends from a process of its own.  `wrk` can only run for whole seconds."""

    def __init__(self, *, wrk: bool) -> None:
        self._wrk = shutil.which("wrk") if wrk else None
        self._sent: Counter[str] = Counter()  # by target
        self.name = "wrk -t1" if self._wrk else "the built-in generator"

    def rate(self, target: Target, seconds: float) -> tuple[int, float]:
        """How many answers came, and in how many seconds.

        Visitors have their turn where the last call for this target stopped.
        """
        at = self._sent[target.name] % len(target.cookies)
        with tempfile.NamedTemporaryFile("w", suffix=".cookies") as file:
            file.write("\n".join([*target.cookies[at:], *target.cookies[:at]]))
            file.flush()
            ran = subprocess.run(
                self._command(target, seconds, file.name),
                capture_output=True,
                text=True,
                timeout=seconds + 30,
                cwd=ROOT,
            )
        if ran.returncode != 0:
            raise Failed(f"{self.name} on {target.name}: {(ran.stderr or ran.stdout)[-500:]}")
        counted = json.loads(ran.stdout.splitlines()[-1])
        if counted["bad"] or not counted["good"]:
            raise Failed(
                f"{target.name}: {counted['good']} answers, {counted['bad']} of them not 200"
            )
        self._sent[target.name] += counted["good"]
        return counted["good"], counted["seconds"]

    def _command(self, target: Target, seconds: float, cookies: str) -> list[str]:
        url = f"http://127.0.0.1:{target.port}{target.path}"
        if self._wrk is None:
            module = "lab.cost.closed_loop"
            return [sys.executable, "-m", module, url, cookies, str(CONNECTIONS), f"{seconds:g}"]
        options = [f"-c{CONNECTIONS}", "-t1", f"-d{seconds:.0f}s", "-s", str(WRK)]
        return [self._wrk, *options, url, cookies]
