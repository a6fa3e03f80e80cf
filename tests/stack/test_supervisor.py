"""What the stack asks of supervisord, of one with a program that does nothing."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.supervisor.daemon import Supervisord
from deploy.supervisor.start import start_supervisord
from lab.testbed.servers import wait_until

NAME = "sleeper"
PROGRAM = f"""[program:{NAME}]
command={sys.executable} -c "import time; time.sleep(600)"
autorestart=true
startsecs=0
"""
START_SECONDS = 10.0

pytestmark = pytest.mark.native


@pytest.fixture
def supervisord(tmp_path: Path) -> Iterator[Supervisord]:
    found = Supervisord(tmp_path, tmp_path / "s.sock")
    found.programs.mkdir()
    process = start_supervisord(found, os.environ, log=tmp_path / "log", quiet=True)
    try:
        wait_until(lambda: bool(found.states()), seconds=START_SECONDS, what="supervisord")
        yield found
    finally:
        found.shut_down(process)


@pytest.mark.long
def test_program_that_dies_is_removed(supervisord: Supervisord) -> None:
    """Removing a program ends it for good, also when it is just being started again after its death."""
    pids = set()
    for _ in range(4):
        (supervisord.programs / f"{NAME}.conf").write_text(PROGRAM)
        supervisord.add_programs([NAME])
        wait_until(lambda: NAME in supervisord.pids(), seconds=START_SECONDS, what="a start")
        pids.add(supervisord.pids()[NAME])
        os.kill(supervisord.pids()[NAME], signal.SIGKILL)
        supervisord.remove_programs([NAME])
        assert NAME not in supervisord.states()
    assert len(pids) == 4
