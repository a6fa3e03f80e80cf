"""The CPU time of the stack's processes, as a report shows it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from loadtest.load.cpu import cpu_seconds, since
from loadtest.settings import read_settings

# Each of two processes has two figures, for itself and for the kernel, rounded down to ticks.
TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
BUSY_CHILD = """
import subprocess, sys
busy = "import time\\nwhile time.process_time() < 0.3: pass\\nprint(flush=True); input()"
subprocess.run([sys.executable, "-c", busy])
"""


def test_children_count() -> None:
    """What a part's children use is the part's, as nginx works in child processes only."""
    command = [sys.executable, "-c", BUSY_CHILD]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        before = {"part": 0.0}
        assert process.stdout is not None
        process.stdout.readline()
        spent = since(before, {"part": process.pid})
        process.communicate("\n")
    assert spent["part"] >= 0.3 - 4 * TICK_SECONDS


def test_gone_part_is_left_out() -> None:
    """A process that has ended, or begun anew under another id, has no figure instead of a wrong one."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert cpu_seconds({"gone": process.pid}) == {}
    assert since({"gone": 1.0}, {"gone": process.pid}) == {}
    assert since({"restarted": 1e9}, {"restarted": os.getpid()}) == {}


def test_parts_of_the_command_line() -> None:
    """PARTS names processes by id; without it nothing is watched."""
    assert read_settings([], {"PARTS": "nginx=12,worker-8001=13"}).parts == {
        "nginx": 12,
        "worker-8001": 13,
    }
    assert read_settings([], {}).parts == {}


WRONG = [
    *(("PARTS", "nginx"), ("REPORT", "yes"), ("USERS", "1.5")),
    # Digits of another script, which Python would take.
    *(("USERS", "٣"), ("DURATION", "٣"), ("RATE", "٣"), ("LISTEN", "h:٣٣"), ("PARTS", "nginx=٣")),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_wrong_setting(name: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong value is refused by the name of its setting."""
    with pytest.raises(SystemExit):
        read_settings([], {name: value})
    assert f"{name}={value}" in capsys.readouterr().err
