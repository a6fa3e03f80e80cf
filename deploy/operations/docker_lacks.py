"""What a machine lacks for the stack in Docker: the first thing that is missing, in one line with the remedy."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable

# start_interval in docker-compose.yml needs both: Compose 2.20.1 does not know it, and 2.24 refuses an engine before 25.
COMPOSE = (2, 20, 2)
ENGINE = (25,)
ANSWER_SECONDS = 10.0
INSTALL = "deploy/offline/install-engine installs it from Debian packages, without a registry"
START = "start it, or have deploy/offline/start-engine start one"

Version = tuple[int, ...]


def lacks() -> str | None:
    """None when client, Compose and engine are there; an image may still be missing."""
    looks: tuple[Callable[[], str | None], ...] = (_client, _compose, _engine)
    return next((found for look in looks if (found := look())), None)


def why_none(kind: str) -> str:
    """Why no stack runs in Docker, where STACK=`kind` may have meant one; in parentheses."""
    meant = kind == "docker" or (not kind and shutil.which("docker"))
    missing = lacks() if meant else None
    return f" ({missing})" if missing else ""


def _client() -> str | None:
    return None if shutil.which("docker") else f"Docker is not installed; {INSTALL}"


def _compose() -> str | None:
    code, version, _ = _ask("compose", "version", "--short")
    if code:
        return f"Docker Compose is not installed; {INSTALL}"
    return _too_old("Compose", version, COMPOSE)


def _engine() -> str | None:
    code, version, error = _ask("version", "--format", "{{.Server.Version}}")
    if code:
        return f"no Docker engine answers ({error}); {START}"
    return _too_old("Docker Engine", version, ENGINE)


def _too_old(name: str, version: str, least: Version) -> str | None:
    if _numbers(version) >= least:
        return None
    wanted = ".".join(map(str, least))
    return f"{name} {version} is too old, and {wanted} is needed; deploy/offline/README.md has one"


def _numbers(version: str) -> Version:
    """Those a version begins with: 2.26.1-4 is (2, 26, 1)."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(map(int, found[1].split("."))) if found else ()


def _ask(*words: str) -> tuple[int, str, str]:
    """Exit code of `docker`, its output, and the last line of what it complained about."""
    try:
        done = subprocess.run(
            ["docker", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 1, "", f"silent for {ANSWER_SECONDS:g} s"
    complaint = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return done.returncode, done.stdout.strip(), complaint[-1].rstrip(".")
