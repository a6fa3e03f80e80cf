"""Starting supervisord as a child of `make run`, or of the app container's first process."""

from __future__ import annotations

import glob
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.paths import ROOT
from deploy.supervisor.daemon import NOTHING, Supervisord, end_with_parent

FRAME = Path(__file__).with_name("supervisord.conf")
MOST_FILES = 1 << 20  # an "unlimited" hard limit is not one the kernel accepts as a soft limit
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def start_supervisord(
    supervisord: Supervisord, environ: Mapping[str, str], *, log: Path, quiet: bool
) -> subprocess.Popen[bytes]:
    """Run it in a session of its own, so that Ctrl-C reaches the parent only.

    With `quiet` what it says stands in `log` alone; otherwise on standard output too.
    """
    supervisord.fatal.unlink(missing_ok=True)
    for counted_anew in ("starts", "hangs"):
        shutil.rmtree(supervisord.folder / counted_anew, ignore_errors=True)
    supervisord.socket.unlink(missing_ok=True)
    supervisord.watched("").mkdir(exist_ok=True)
    _raise_file_limit()
    settings = {
        "SUPERVISOR_DIR": str(supervisord.folder),
        "SUPERVISOR_PROGRAMS": _pattern(supervisord.programs),
        "SUPERVISOR_SOCKET": str(supervisord.socket),
        "SUPERVISOR_LOG": str(log),
        "SUPERVISOR_PYTHON": shlex.quote(sys.executable),
        NOTHING: "",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(FRAME)],
        cwd=ROOT,
        env={**environ, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if quiet else None,
        stderr=subprocess.DEVNULL if quiet else None,
        start_new_session=True,
        preexec_fn=end_with_parent,
    )


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended; signals that arrive meanwhile are handled afterwards.

    A handler that raises inside Popen may leave its lock taken, and then wait() never returns.
    """
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        return process.poll() is not None
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def _pattern(folder: Path) -> str:
    """Every .conf file in `folder`, as supervisord takes it: spaces would divide it in two."""
    return re.sub(r"\s", "?", glob.escape(str(folder))) + "/*.conf"


def _raise_file_limit() -> None:
    """Allow as many open files as the system lets us: each visitor is one, in nginx two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            pass  # some systems cap it lower than they say; the soft limit still works
