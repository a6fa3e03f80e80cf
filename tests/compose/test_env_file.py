"""The table of lines of .env against the real Compose; `docker compose config` needs no engine."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from deploy.native.env_file import read_env_file
from tests.unit.test_env_file import ALIKE, REFUSED

SERVICE = "services: {a: {image: none, environment: {V: }}}\n"


def compose(folder: Path, text: str) -> str | None:
    """What a service gets as V; None when Compose refuses the file."""
    (folder / "docker-compose.yml").write_text(SERVICE)
    (folder / ".env").write_bytes(text.encode())
    done = subprocess.run(
        ["docker", "compose", "config", "--format", "json"],
        cwd=folder,
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return None
    value: str = json.loads(done.stdout)["services"]["a"]["environment"]["V"]
    return value.replace("$$", "$")  # `config` prints what could be read again


@pytest.mark.parametrize("text", [*ALIKE, *(other for other, _ in REFUSED.values())])
def test_read_alike(text: str, tmp_path: Path) -> None:
    """Compose reads each accepted line as `make run` does."""
    (tmp_path / "own.env").write_bytes(text.encode())

    assert compose(tmp_path, text) == read_env_file(tmp_path / "own.env")["V"]


def test_difference_is_noticed(tmp_path: Path) -> None:
    """A line that is refused does mean something else to Compose than what stands there."""
    assert compose(tmp_path, "V=pa$word") == "pa"
    assert compose(tmp_path, "V='word") is None
