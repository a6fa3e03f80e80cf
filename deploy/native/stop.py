"""`make stop`: end the stack that `make run` started elsewhere, or what a killed one left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping

from deploy.lock import holder
from deploy.native.leftovers import kill_session, session_members
from deploy.native.options import Options, read_environ, read_options
from deploy.native.programs import supervisord_of
from deploy.refused import Refused

STOP_SECONDS = 30.0


def stop(environ: Mapping[str, str]) -> None:
    """Return when nothing of the stack runs any more; says so when nothing did."""
    options = read_options(read_environ(environ))
    lock = options.stack_dir / "run.pid"
    pid = holder(lock)
    if pid:
        os.kill(pid, signal.SIGTERM)
        _wait(lambda: holder(lock) is None)
    elif is_left(options):
        stop_left(options)
    else:
        print("nothing is running")
        return
    print("stopped")


def is_left(options: Options) -> bool:
    """Whether a supervisord, or a program of it, runs whose `make run` is gone."""
    return bool(session_members(_leader(options), supervisord_of(options).mark))


def stop_left(options: Options) -> None:
    """End those; returns when none runs any more."""
    supervisord, pid = supervisord_of(options), _leader(options)
    if supervisord.stopped:  # it would do nothing
        os.kill(pid, signal.SIGCONT)
    if supervisord.states():
        os.kill(pid, signal.SIGTERM)
        _wait(lambda: not session_members(pid, supervisord.mark))
    kill_session(pid, supervisord.mark)
    _wait(lambda: not session_members(pid, supervisord.mark))
    (supervisord.folder / "supervisord.pid").unlink(missing_ok=True)


def _leader(options: Options) -> int:
    """The last supervisord's process, which began the session of all its programs; 0 when none is known."""
    pid_file = supervisord_of(options).folder / "supervisord.pid"
    return int(pid_file.read_text(encoding="utf-8")) if pid_file.exists() else 0


def _wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise Refused(f"still running after {STOP_SECONDS:g} s; look at `make logs`")
        time.sleep(0.05)
