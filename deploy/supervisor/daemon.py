"""One supervisord, asked for states, starts and stops through its socket; start.py starts it."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import Faults, SupervisorTransport

from deploy.proc import is_stopped
from deploy.refused import Refused
from deploy.upstream.read import worker_port

PR_SET_PDEATHSIG = 1
WATCHDOG = "watchdog"
NOTHING = "SUPERVISOR_NOTHING"  # an empty variable, which ends a space in the files of programs
GONE = {"STOPPED", "EXITED", "FATAL"}
# When it takes no commands: starting, stopping, or stopped itself.
AWAY = (OSError, xmlrpc.client.Error, Refused)


class Supervisord:
    """One supervisord: `folder` holds its programs and pid, `socket` is where it takes commands."""

    def __init__(self, folder: Path, socket: Path) -> None:
        self.folder = folder
        self.socket = socket
        self.programs = folder / "programs"
        self.fatal = folder / "fatal"

    @property
    def mark(self) -> str:
        """What stands in the environment of every process started by it, and of no other."""
        return f"SUPERVISOR_DIR={self.folder}"

    def watched(self, name: str) -> Path:
        """What the files are called through which the watchdog looks at the worker `name`."""
        return self.folder / "watched" / name

    @property
    def given_up(self) -> str | None:
        """The program that could not be kept running, once listener.py has named one."""
        return self.fatal.read_text(encoding="utf-8") if self.fatal.exists() else None

    @property
    def stopped(self) -> str | None:
        """What to do when somebody has stopped it, as `kill -STOP` does: it would never answer.

        Linux only: elsewhere this is never noticed.
        """
        try:
            pid = int((self.folder / "supervisord.pid").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not is_stopped(pid):
            return None
        text = f"supervisord (process {pid}) is stopped and restarts nothing"
        return f"{text}: `kill -CONT {pid}` lets it go on"

    def states(self) -> dict[str, str]:
        """Each program's state, by name; empty while supervisord takes no commands."""
        try:
            return {info["name"]: info["statename"] for info in self.processes()}
        except AWAY:
            return {}

    def pids(self) -> dict[str, int]:
        """The process of each part that serves visitors and runs; empty while supervisord takes no commands."""
        ours = {path.stem for path in self.programs.glob("*.conf")} - {WATCHDOG}
        try:
            known = {info["name"]: info["pid"] for info in self.processes()}
        except AWAY:
            return {}
        return {name: pid for name, pid in known.items() if pid and name in ours}

    def processes(self) -> list[dict[str, Any]]:
        """What supervisord knows of each program (supervisord.org/api.html, getProcessInfo)."""
        return list(self._ask("getAllProcessInfo"))

    def workers(self) -> list[int]:
        """The ports of the workers it knows, running or not."""
        names = [info["name"] for info in self.processes()]
        found = [worker_port(name) for name in names]
        return sorted(port for port in found if port is not None)

    def stop(self, names: Iterable[str]) -> None:
        """Stop these programs, all at the same time, and return when they are gone.

        supervisord's own shutdown stops one after the other; workers that each drain for a second
        would add up.  Every program has a limit after which supervisord kills it, so this ends.
        """
        wanted = set(names)
        while waiting := {n: s for n, s in self.states().items() if n in wanted and s not in GONE}:
            for name, state in waiting.items():
                if state != "STOPPING":  # asked each time: it may just have been started again
                    self.begin_stop(name)
            time.sleep(0.02)

    def start_program(self, name: str) -> None:
        """Start a program that was stopped; does not wait until it is ready."""
        self._ask("startProcess", name, False)

    def signal_program(self, name: str, signal_name: str) -> None:
        """Send a signal; a program that ends by it is started again by supervisord itself."""
        self._ask("signalProcess", name, signal_name)

    def add_programs(self, names: Iterable[str]) -> None:
        """Start the programs of new files in `programs`; the others are left alone."""
        self._ask("reloadConfig")
        for name in names:
            self._ask("addProcessGroup", name)

    def remove_programs(self, names: Iterable[str]) -> None:
        """Stop these, all at once, and forget them."""
        left = [name for name in names if name in self.states()]
        while left:
            self.stop(left)
            left = [name for name in left if not self._forget(name)]

    def shut_down(self, process: subprocess.Popen[bytes]) -> None:
        """End supervisord itself, `process`, after stopping what still runs; returns when it is gone."""
        # Stopped first: supervisord's shutdown spends a second on each program it finds running.
        self.stop(self.states())
        try:
            self._ask("shutdown")
        except (OSError, xmlrpc.client.Error):
            process.terminate()
        process.wait()

    def _forget(self, name: str) -> bool:
        """Whether it could be; not when it had just ended by itself and has been started again since."""
        try:
            self._ask("removeProcessGroup", name)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != Faults.STILL_RUNNING:
                raise
            return False
        return True

    def begin_stop(self, name: str) -> None:
        """Ask for the end of a program, and do not wait for it."""
        try:
            self._ask("stopProcess", name, False)
        except (OSError, xmlrpc.client.Error):
            pass  # not running, or supervisord is already going: both are what was wanted

    def _ask(self, method: str, *arguments: object) -> Any:
        """Call one of supervisord's methods (supervisord.org/api.html); Refused while it is stopped."""
        if stopped := self.stopped:
            raise Refused(stopped)
        transport = SupervisorTransport(serverurl=f"unix://{self.socket}")
        with xmlrpc.client.ServerProxy("http://localhost", transport) as server:
            return getattr(server.supervisor, method)(*arguments)


def end_with_parent() -> None:
    """In the child: have the kernel send SIGTERM when the parent dies, however it dies.

    Linux only.  Elsewhere a supervisord whose parent was killed goes on, and `make stop` ends it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
