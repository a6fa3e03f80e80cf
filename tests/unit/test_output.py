"""What commands print: a sign of life while they work, and colours in one place only."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import deploy.__main__ as commands
from deploy.paths import ROOT
from lab.testbed.servers import wait_until
from loadtest import progress

WORKS = """
import sys, time
from deploy import output
output.SILENT_SECONDS = 0.3
output.outlive_readers()
with output.never_silent():
    print("begin")
    time.sleep(0.9)
    print("1 of 2", end=" ", flush=True)
    time.sleep(0.7)
    print("ready")
print("end", file=sys.stdout)
"""
ESCAPE = re.compile(r"\\x1b|\\033|\\e\[|\\u001b", re.IGNORECASE)


def test_never_silent() -> None:
    """A command that prints nothing for a while adds dots, on a line of their own or in the one that waits."""
    done = subprocess.run(
        [sys.executable, "-c", WORKS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"begin\n\.+\n1 of 2 \.+ready\nend\n", done.stdout), done.stdout


def test_load_test_is_never_silent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While a verdict is computed and the report is drawn, a line says so again and again."""
    monkeypatch.setattr(progress, "SILENT_SECONDS", 0.01)
    said: list[str] = []
    with progress.never_silent("judging the history"):
        wait_until(
            lambda: said.append(capsys.readouterr().out) or len("".join(said)) > 80,
            seconds=10,
            what="lines",
        )
    assert set("".join(said).splitlines()) == {"  judging the history: 0 s so far"}


def test_each_command_shows_that_it_goes_on() -> None:
    """Each command that takes no argument and ends by itself adds dots; the others run until they are told to stop."""
    in_the_foreground = {
        commands.run,
        commands.logs,
        commands.container,
        commands.watch,
        commands.figures,
    }
    written_for_machines = {commands.health, commands.https}
    assert set(commands.ALONE) - set(commands.WAITING) == in_the_foreground | written_for_machines


def test_colours_are_in_one_place() -> None:
    """No command but `make status WATCH=1` writes colours, and that one obeys NO_COLOR and needs a terminal."""
    sources = [
        *(path for house in ("app", "deploy", "loadtest", "lab") for path in (ROOT / house).rglob("*")),
        ROOT / "Makefile",
        ROOT / ".ci/run",
    ]  # fmt: skip
    texts = {path: path.read_bytes().decode("latin-1") for path in sources if path.is_file()}
    found = [str(path.relative_to(ROOT)) for path, text in texts.items() if ESCAPE.search(text)]
    assert [name for name in found if not name.endswith((".pyc", ".png"))] == [
        "deploy/operations/live.py"
    ]
