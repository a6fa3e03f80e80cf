"""`make logs`: follow every log of the native stack."""

from __future__ import annotations

import os

from deploy.native.options import Options
from deploy.refused import Refused


def follow_logs(options: Options) -> None:
    """Become `tail -F` on the log files; ends with Ctrl-C."""
    files = sorted(str(path) for path in options.logs.glob("*.log"))
    if not files:
        raise Refused(f"there are no logs in {options.logs}: nothing has run yet")
    os.execvp("tail", ["tail", "-n", "20", "-F", *files])
