"""What a load test is told of the upstream."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from deploy.paths import ROOT
from deploy.upstream.expect import facts_of
from deploy.upstream.read import read_upstream

UPSTREAM = """upstream app {
    zone app 512k;
    least_conn;
    server app:8001 weight=2;
    server app:8002;
    server app:8003 down;
}
"""


def test_facts(tmp_path: Path) -> None:
    """Servers that are served count, with their weights, and the policy has nginx's name."""
    path = tmp_path / "upstream.conf"
    path.write_text(UPSTREAM)
    assert facts_of(read_upstream(path)) == {
        "WORKERS": "2",
        "WEIGHTS": "2,1",
        "POLICY": "least_conn",
    }


def test_expect_becomes_the_command() -> None:
    """`expect` runs a command with the facts of nginx/upstream.conf; what was given wins."""
    script = "import os; print(*map(os.environ.get, ('WORKERS', 'WEIGHTS', 'POLICY'))); exit(5)"
    result = subprocess.run(
        [sys.executable, "-m", "deploy", "expect", "--", sys.executable, "-c", script],
        cwd=ROOT,
        env={"WORKERS": "8", "POLICY": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout.strip(), result.returncode) == ("8 1,1,1,1 round_robin", 5)


def test_expect_needs_a_command() -> None:
    """A command that is not there is refused in a sentence."""
    result = subprocess.run(
        [sys.executable, "-m", "deploy", "expect", "--", "no-such-command"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (1, "error: there is no command no-such-command\n")
