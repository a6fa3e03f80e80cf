"""`make stop`: end the stack that `make run` started elsewhere, or what a killed one left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from deploy.lock import holder
from deploy.native.leftovers import kill_session, session_members
from deploy.native.options import Options
from deploy.native.programs import supervisord_of
from deploy.refused import Refused

STOP_SECONDS = 30.0


def stop(options: Options) -> None:
    """Return when nothing of the stack runs any more; says so when nothing did."""
    lock = options.stack_dir / "run.pid"
    pid = holder(lock)
    if pid:
        os.kill(pid, signal.SIGTERM)
        _wait(lambda: holder(lock) is None)
    elif not _stop_leftover(options):
        print("nothing is running")
        return
    print("stopped")


def _stop_leftover(options: Options) -> bool:
    """End a supervisord, or its programs, whose `make run` is gone; whether there were any."""
    supervisord = supervisord_of(options)
    pid_file = supervisord.folder / "supervisord.pid"
    pid = int(pid_file.read_text(encoding="utf-8")) if pid_file.exists() else 0
    if not session_members(pid, supervisord.mark):
        return False
    if supervisord.states():
        os.kill(pid, signal.SIGTERM)
        _wait(lambda: not session_members(pid, supervisord.mark))
    kill_session(pid, supervisord.mark)
    pid_file.unlink(missing_ok=True)
    return True


def _wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise Refused(f"still running after {STOP_SECONDS:g} s; look at `make logs`")
        time.sleep(0.05)
