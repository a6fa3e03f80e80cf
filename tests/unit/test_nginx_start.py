"""What a killed nginx leaves behind is told to give up its ports; a running nginx, or another program, is left alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.native.nginx_start import left_behind

SLEEP = shutil.which("sleep")


@pytest.fixture
def group(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A "master" called nginx with a child of the same name, in a group of its own, and its file."""
    nginx = tmp_path / "nginx"
    shutil.copy(str(SLEEP), nginx)
    script = f'"{nginx}" 60 & exec "{nginx}" 60'
    master = subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True)
    file = tmp_path / "nginx.pid"
    file.write_text(f"{master.pid}\n")
    try:
        while Path(f"/proc/{master.pid}/comm").read_text() != "nginx\n":
            pass
        yield master, file
    finally:
        os.killpg(master.pid, 9)
        master.wait()


def test_children_of_a_killed_master(group: tuple[subprocess.Popen[bytes], Path]) -> None:
    """While the master lives nobody is left behind; once it is killed its children are."""
    master, file = group
    assert left_behind(file) == []
    master.kill()
    master.wait()
    (child,) = left_behind(file)
    assert child != master.pid


@pytest.mark.parametrize("text", [None, "", "no number", "999999999"])
def test_nothing_left(tmp_path: Path, text: str | None) -> None:
    """Without the file, as after an orderly end, or with one that says nothing, nobody is left behind."""
    file = tmp_path / "nginx.pid"
    if text is not None:
        file.write_text(text)
    assert left_behind(file) == []
