"""`make logs`: follow every log of the native stack."""

from __future__ import annotations

import os
from collections.abc import Mapping

from deploy.native.options import read_environ, read_options
from deploy.refused import Refused


def follow_logs(environ: Mapping[str, str]) -> None:
    """Become `tail -F` on the log files; ends with Ctrl-C."""
    folder = read_options(read_environ(environ)).logs
    files = sorted(str(path) for path in folder.glob("*.log"))
    if not files:
        raise Refused(f"there are no logs in {folder}: nothing has run yet")
    os.execvp("tail", ["tail", "-n", "20", "-F", *files])
