"""A stack in Docker for one measurement: a copy of the files, a project and ports of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.free_port import free_ports
from deploy.paths import ROOT
from deploy.refused import Refused

COPIED = ("app", "deploy", "nginx")
ENGINE_SECONDS = 10


@dataclass(frozen=True)
class ComposeScratch:
    """`folder` is the copy; commands in it with `environ` mean this stack and no other."""

    url: str
    folder: Path
    environ: dict[str, str]

    @property
    def nginx(self) -> Path:
        return self.folder / "nginx"

    def compose(self, *arguments: str) -> str:
        """What `docker compose ARGUMENTS` prints; Refused when it fails."""
        return self.run("docker", "compose", *arguments)

    def run(self, *command: str) -> str:
        """What the command prints; Refused when it fails."""
        result = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise Refused(f"{' '.join(command)}: {(result.stderr or result.stdout)[-2000:]}")
        return result.stdout


def engine_answers() -> bool:
    """Whether `docker` is there, and an engine behind it."""
    if shutil.which("docker") is None:
        return False
    try:
        command = ("docker", "info")
        result = subprocess.run(command, capture_output=True, timeout=ENGINE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return result.returncode == 0


@contextmanager
def compose_stack(**settings: str) -> Iterator[ComposeScratch]:
    """The stack of docker-compose.yml, up and healthy, with these settings; its volumes are gone afterwards."""
    with TemporaryDirectory(prefix="proof-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the containers' users read the files
        for part in COPIED:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        shutil.copy2(ROOT / "docker-compose.yml", folder)
        stack = _described(folder, free_ports(2), settings)
        try:
            stack.compose("build", "--quiet", "app")
            stack.compose("up", "--detach", "--wait")
            yield stack
        finally:
            stack.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")


def _described(folder: Path, ports: Sequence[int], settings: Mapping[str, str]) -> ComposeScratch:
    own = {
        "COMPOSE_PROJECT_NAME": f"proof-{secrets.token_hex(4)}",
        "COMPOSE_FILE": str(folder / "docker-compose.yml"),
        "BIND": "127.0.0.1",
        "HTTP_PORT": str(ports[0]),
        "HTTPS_PORT": str(ports[1]),
        "STACK": "docker",
        "ENV_FILE": "",
        **settings,
    }
    return ComposeScratch(f"http://127.0.0.1:{ports[0]}", folder, {**os.environ, **own})
