"""app/sessions/README.md: its program runs beside a copy of the folder, and its table names every method."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

from app import sessions as engine
from app.sessions import RedisSessions
from deploy.paths import ROOT
from lab.testbed.servers import Place

FOLDER = ROOT / "app/sessions"
PAGE = (FOLDER / "README.md").read_text()


def test_program(place: Place, tmp_path: Path) -> None:
    """The program of the page runs as it stands beside a copy of the folder, on one server and a cluster."""
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (printed,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    (address,) = re.findall(r"redis://[\w.:/]+", program)
    shutil.copytree(FOLDER, tmp_path / "sessions", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "main.py").write_text(program.replace(address, place.url))
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == printed


def test_methods() -> None:
    """The table names every public method, and every exception it names exists."""
    table = [line for line in PAGE.splitlines() if line.startswith("| `")]
    named = {name for line in table for name in re.findall(r"`([a-z_]+)\(", line)}
    public = {
        name
        for name, member in inspect.getmembers(RedisSessions, inspect.isfunction)
        if not name.startswith("_")
    }
    errors = {name for line in table for name in re.findall(r"`([A-Z][A-Za-z]+)`", line)}

    assert named == public - {"check"}  # that one is for a worker's start
    assert errors
    assert all(hasattr(engine, name) for name in errors), errors
