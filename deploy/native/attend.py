"""What `make run` looks after while the stack runs: its folder, the size of its logs, and supervisord itself."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from deploy.native.changes import Changes
from deploy.native.options import Options
from deploy.native.programs import supervisord_of
from deploy.native.rotate import rotate_logs
from deploy.refused import Refused
from deploy.supervisor.start import has_ended

LOOK_SECONDS = 0.5


def attend(options: Options, process: subprocess.Popen[bytes]) -> None:
    """Return when supervisord, `process`, has ended; Refused when the stack's folder was deleted meanwhile."""
    folder = _known_by(options.stack_dir)
    changes = Changes(options.logs) if options.dev else None
    supervisord, told = supervisord_of(options), None
    while not has_ended(process):
        time.sleep(LOOK_SECONDS)
        if _known_by(options.stack_dir) != folder:
            raise Refused(
                f"{options.stack_dir} was deleted while the stack ran: it has been stopped"
            )
        rotate_logs(options.logs, time.time())
        if changes:
            changes.report()
        if (stopped := supervisord.stopped) and stopped != told:
            print(stopped, flush=True)
        told = stopped


def _known_by(folder: Path) -> int | None:
    """The number of the folder that has this name at the moment."""
    return folder.stat().st_ino if folder.exists() else None
