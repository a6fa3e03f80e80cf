"""Runs the load test as a user does, in a process of its own, and reads its verdict."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.paths import ROOT

NO_REPORT = ("--report", "0")  # drawing takes longer than some of these runs


@dataclass
class Run:
    """A finished load test."""

    code: int
    printed: str
    verdict: dict[str, Any]

    @property
    def broken(self) -> set[str]:
        """The invariants that it found broken."""
        counts = self.verdict.get("counts", {}).get("violations", {})
        return {name for name, count in counts.items() if count}

    @property
    def reasons(self) -> str:
        """All reasons of the verdict."""
        return "\n".join(reason for _, reason in self.verdict.get("reasons", []))


def start(host: str, out: Path, *options: str) -> subprocess.Popen[str]:
    """Start the load test; what it prints can be read from stdout."""
    names = ("PATH", "HOME", "PYTHONDONTWRITEBYTECODE")
    return subprocess.Popen(
        [sys.executable, "-m", "loadtest", "--host", host, "--out", str(out), *NO_REPORT, *options],
        cwd=ROOT,
        env={name: os.environ[name] for name in names if name in os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def load(host: str, out: Path, *options: str) -> Run:
    """Run the load test to its end."""
    process = start(host, out, *options)
    try:
        printed, _ = process.communicate(timeout=90)
    finally:
        process.kill()
    stored = out / "verdict.json"
    verdict = json.loads(stored.read_text()) if stored.exists() else {}
    return Run(process.returncode, printed, verdict)
