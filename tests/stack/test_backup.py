"""Backup and restore as docs/redis.md has them, and the service that keeps a native stack running."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from deploy.native.scratch import end_run, scratch_settings, start_run, wait_for_start
from deploy.paths import ROOT
from tests.conftest import UPSTREAM
from tests.stack.visitor import new_visitor

pytestmark = pytest.mark.native
PAGE = (ROOT / "docs/redis.md").read_text().partition("## Backup and restore")[2]
UNIT = ROOT / "deploy/systemd/round-robin.service"
LONGEST_STOP_SECONDS = 3 + 15 + 10  # nginx, then the workers, then Redis


@pytest.mark.long
def test_backup(tmp_path: Path) -> None:
    """A session and its visits are there again after the folder was lost and restored from the archive."""
    make, unmake = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    environ = {**os.environ, **scratch_settings(tmp_path, UPSTREAM)}
    url = f"http://127.0.0.1:{environ['HTTP_PORT']}"
    process = start_run(environ)
    try:
        wait_for_start(process)
        with new_visitor(url) as visitor:
            visitor.log_in()
            visitor.visit()
            assert end_run(process) == 0
            shell(make.removeprefix("make stop\n"), tmp_path, environ)
            shutil.rmtree(environ["STACK_DIR"])
            shell(unmake, tmp_path, environ)
            process = start_run(environ)
            wait_for_start(process)
            assert visitor.visit()["visits"] == 2
    finally:
        end_run(process)


def shell(commands: str, folder: Path, environ: dict[str, str]) -> None:
    subprocess.run(["sh", "-euc", commands], cwd=folder, env=environ, check=True)


def test_service() -> None:
    """The unit runs what `make run` runs, and waits for a stop longer than the slowest takes."""
    unit = RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(UNIT.read_text())
    service = unit["Service"]

    assert service["ExecStart"] == f"{service['WorkingDirectory']}/.venv/bin/python -m deploy run"
    assert "$(PY)) -m deploy run\n" in (ROOT / "Makefile").read_text()
    assert int(service["TimeoutStopSec"]) > LONGEST_STOP_SECONDS
    assert service["Environment"] == f"STACK_DIR=/var/lib/{service['StateDirectory']}"
