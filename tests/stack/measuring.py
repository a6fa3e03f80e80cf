"""A run of `make compare` or `make longconn` as a test starts, interrupts and reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from deploy.paths import ROOT


def start(experiment: str, out: Path, **settings: str) -> subprocess.Popen[str]:
    """`python -m lab EXPERIMENT` in its quickest form; the report goes to `out`."""
    return subprocess.Popen(
        [sys.executable, "-m", "lab", experiment],
        cwd=ROOT,
        env={**os.environ, "QUICK": "1", "OUT": str(out), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str], out: Path) -> tuple[str, dict[str, Any]]:
    """What was printed, and the report for machines; empty when there is none."""
    try:
        printed, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    report = out / "report.json"
    return printed, json.loads(report.read_text()) if report.exists() else {}
