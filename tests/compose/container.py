"""One container outside the services of the stack, known by its name and removed when a test ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Container:
    """A container that somebody started under `name`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def is_running(self) -> bool:
        return bool(self._state()["Running"])

    def exit_code(self) -> int:
        return int(self._state()["ExitCode"])

    def said(self) -> str:
        """Both outputs since it was made."""
        result = docker("logs", self.name)
        return result.stdout + result.stderr

    def kill(self, words: str) -> None:
        """SIGKILL each of its processes whose command holds `words`."""
        for line in docker("top", self.name, "-eo", "pid,args").stdout.splitlines()[1:]:
            pid, command = line.strip().split(maxsplit=1)
            if words in command:
                os.kill(int(pid), signal.SIGKILL)

    def _state(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(docker("inspect", self.name).stdout)
        state: dict[str, Any] = found[0]["State"]
        return state


@contextmanager
def removed(name: str) -> Iterator[Container]:
    """The container `name`, which is gone afterwards."""
    try:
        yield Container(name)
    finally:
        docker("rm", "--force", "--volumes", name)


def docker(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line of the engine, whatever comes of it."""
    return subprocess.run(
        ("docker", *words), capture_output=True, text=True, timeout=60, check=False
    )
