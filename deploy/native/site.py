"""A native stack that runs, as those who measure it or try it out have to know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class NativeSite:
    """Where it answers and where its files are.

    `settings` is the environment in which a `deploy` command means this stack.
    """

    url: str
    http_port: int
    https_port: int
    worker_ports: tuple[int, ...]
    state: Path
    upstream_conf: Path
    settings: Mapping[str, str]

    @property
    def https_url(self) -> str:
        return f"https://127.0.0.1:{self.https_port}"
