"""The tests' own watch over processes that are left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from tests.orphans import orphans


def test_orphan_is_noticed(tmp_path: Path) -> None:
    """A process whose parent has ended is found by the folder it was started in."""
    script = "sleep 60 >/dev/null 2>&1 & echo $!"
    shell = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    pid = int(shell.stdout)
    try:
        deadline = time.monotonic() + 10
        while not orphans(tmp_path):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert orphans(tmp_path) == {(pid, "sleep")}
    finally:
        os.kill(pid, signal.SIGKILL)


def test_child_is_no_orphan(tmp_path: Path) -> None:
    """A process whose parent is there is not reported."""
    child = subprocess.Popen(["sleep", "60"], cwd=tmp_path)
    try:
        assert orphans(tmp_path) == set()
    finally:
        child.kill()
        child.wait()
