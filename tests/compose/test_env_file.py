"""The table of lines of .env against the real Compose; `docker compose config` needs no engine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest

from deploy.native.env_file import read_env_file
from deploy.refused import Refused
from tests.unit.test_env_file import ALIKE, REFUSED

PIECES = [
    *"ab1 =\"'\\#$:`{}()!%&;,.~|<>?*[]@-+/\t",
    "é",
    "export ",
    "\\n",
    "${a}",
    "# ",
    " #",
    "null",
    "true",
    "''",
    '""',
]
LINES = 1000


def compose(folder: Path, text: str) -> str | None:
    """What a service gets as V; None when Compose refuses the file."""
    found = compose_all(folder, text, ["V"])
    return None if found is None else found["V"]


def compose_all(folder: Path, text: str, names: Iterable[str]) -> dict[str, str] | None:
    """What a service gets under these names."""
    variables = "".join(f"      {name}:\n" for name in names)
    service = f"services:\n  a:\n    image: none\n    environment:\n{variables}"
    (folder / "docker-compose.yml").write_text(service)
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
    found = json.loads(done.stdout)["services"]["a"]["environment"]
    # `config` prints what could be read again
    return {name: value.replace("$$", "$") for name, value in found.items()}


@pytest.mark.parametrize("text", [*ALIKE, *(other for other, _ in REFUSED.values())])
def test_read_alike(text: str, tmp_path: Path) -> None:
    """Compose reads each accepted line as `make run` does."""
    (tmp_path / "own.env").write_bytes(text.encode())

    assert compose(tmp_path, text) == read_env_file(tmp_path / "own.env")["V"]


def test_lines_at_random(tmp_path: Path) -> None:
    """Whatever `make run` accepts of a thousand random lines, Compose reads alike, all in one file."""
    random = Random(1)
    accepted: dict[str, str] = {}
    lines = []
    for number in range(LINES):
        line = random_line(random, f"N{number}")
        (tmp_path / "own.env").write_text(line)
        try:
            accepted |= read_env_file(tmp_path / "own.env")
        except Refused:
            continue
        lines.append(line)
    assert LINES / 4 < len(lines) < LINES

    assert compose_all(tmp_path, "\n".join(lines), accepted) == accepted


def random_line(random: Random, name: str) -> str:
    """A line of pieces that mean something to one of the two readers; half have quotes around the value."""
    value = "".join(random.choices(PIECES, k=random.randrange(9)))
    if quote := random.choice(["", "", "'", '"']):
        value = quote + value.replace(quote, "") + quote
    before, after = (
        random.choice(["", "export ", "  "]),
        random.choice(["", "", " ", "  # c", "\t#c"]),
    )
    return f"{before}{name}={value}{after}"


def test_difference_is_noticed(tmp_path: Path) -> None:
    """A line that is refused does mean something else to Compose than what stands there."""
    assert compose(tmp_path, "V=pa$word") == "pa"
    assert compose(tmp_path, "V='word") is None
