"""The workers' own settings, tried by a worker's own code before anything is started with them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

from deploy.paths import ROOT
from deploy.refused import Refused


def check_settings(environ: Mapping[str, str]) -> None:
    """Refused names every setting that is wrong or missing, all at once."""
    done = subprocess.run(
        [sys.executable, "-m", "app", "--check"],
        cwd=ROOT,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Refused("\n  ".join(line.removeprefix("app: ") for line in done.stderr.splitlines()))
