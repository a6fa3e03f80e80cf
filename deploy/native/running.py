"""The native stack that runs in a STACK_DIR: found by its lock, known by the environment of its supervisord."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from deploy.lock import holder
from deploy.native.options import Options, read_options
from deploy.refused import Refused


@dataclass(frozen=True)
class Running:
    """The settings that the stack was started with, whatever the caller's own are."""

    options: Options
    environ: dict[str, str]


def find_running(options: Options) -> Running | None:
    """What runs in `options.stack_dir`, or None; Refused while it is only starting or stopping."""
    process = holder(options.stack_dir / "run.pid")
    if process is None:
        return None
    try:
        pid = int((options.stack_dir / "supervisor/supervisord.pid").read_text(encoding="utf-8"))
        supervisord = psutil.Process(pid)
        environ, folder = supervisord.environ(), supervisord.cwd()
    except (OSError, ValueError, psutil.Error):
        text = f"`make run` (process {process}) is only just starting or stopping"
        raise Refused(f"{text}: try again in a moment") from None
    found = read_options(environ)
    return Running(replace(found, upstream_conf=Path(folder) / found.upstream_conf), environ)
