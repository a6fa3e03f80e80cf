"""The program sections of supervisord: one file each, one file a worker, written from upstream.conf."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.paths import ROOT
from deploy.supervisor.daemon import NOTHING, WATCHDOG
from deploy.upstream.read import Server

WRONG_SETTINGS = 2  # a worker's exit code when its settings cannot be used
START_SECONDS = "5"  # more than any start takes: a slow failure must not pass for a good start

# supervisord starts in rising order and stops in falling order, nginx first.
REDIS_PRIORITY, WORKER_PRIORITY, NGINX_PRIORITY, WATCHDOG_PRIORITY = 10, 20, 30, 40


@dataclass(frozen=True)
class Program:
    """What supervisord must know to keep one process running.

    `output` and `errors` are log files, to which the program appends by itself: through a pipe to supervisord
    nginx would answer nobody while that is stopped.  Errors go to `output` when none is given.  An output
    below /dev, as a container has it, gets both from supervisord.
    `stop_seconds` is how long the process may take after `stop_signal` before it is killed.
    """

    name: str
    command: Sequence[str]
    priority: int
    stop_seconds: int
    output: Path
    errors: Path | None = None
    stop_signal: str = "TERM"

    def section(self) -> str:
        """The text of the program's file."""
        piped = self.output.is_relative_to("/dev")
        lines = {
            "command": shlex.join(self.command if piped else self._appending()),
            "directory": str(ROOT),
            "priority": str(self.priority),
            "autorestart": "unexpected",  # whatever the exit code, but for the one below
            "exitcodes": str(WRONG_SETTINGS),  # no use in another try; listener.py ends the stack
            "startsecs": START_SECONDS,  # died sooner: a failed start, tried thrice more, then FATAL
            "stopsignal": self.stop_signal,
            "stopwaitsecs": str(self.stop_seconds),
            "killasgroup": "true",  # nothing of it may stay behind, children included
            "redirect_stderr": "true",
            "stdout_logfile": str(self.output) if piped else "NONE",
            "stdout_logfile_maxbytes": "0",  # a pipe or terminal cannot be rotated
        }
        text = "\n".join(f"{key}={_escaped(value)}" for key, value in lines.items())
        return f"; Generated; the next start writes it again.\n[program:{self.name}]\n{text}\n"

    def _appending(self) -> list[str]:
        files = [str(self.output), str(self.errors or self.output)]
        shell = ["/bin/sh", "-c", 'exec >>"$0" 2>>"$1"; shift; exec "$@"']
        return [*shell, *files, *self.command]

    def write(self, folder: Path) -> None:
        """Make or replace the program's file."""
        (folder / f"{self.name}.conf").write_text(self.section(), encoding="utf-8")


def worker_program(
    server: Server,
    *,
    host: str,
    drain_seconds: float,
    output: Path,
    watched: Path | None = None,
    start: Sequence[str] = ("app",),
) -> Program:
    """One worker: listens on `host` and its port, and gets 5 s more than its drain to end.

    `watched` is what the files are called through which the watchdog looks at it; `start` is the module that
    is run, and what it gets before the other arguments.
    """
    command = [sys.executable, "-m", *start, "--port", str(server.port), "--host", host]
    command += ["--watched", str(watched)] if watched else []
    stop_seconds = int(drain_seconds) + 5
    return Program(server.name, command, WORKER_PRIORITY, stop_seconds, output)


def watchdog_program(output: Path) -> Program:
    """The watchdog; what it needs to know is in the environment."""
    command = [sys.executable, "-m", "deploy.supervisor.watchdog"]
    return Program(WATCHDOG, command, WATCHDOG_PRIORITY, stop_seconds=2, output=output)


def write_programs(folder: Path, programs: Iterable[Program]) -> None:
    """Make `folder` hold exactly these programs, one file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.conf"):
        old.unlink()
    for program in programs:
        program.write(folder)


def worker_ports(folder: Path) -> list[int]:
    """The ports of the workers that `folder` has programs for."""
    return sorted(int(path.stem.removeprefix("worker-")) for path in folder.glob("worker-*.conf"))


def _escaped(value: str) -> str:
    """A folder may be called `a %20 #2 ;b `, but in the file # and ; after a space begin a comment, and one at the end is cut off."""
    return re.sub(r"(?<=\s)(?=[#;]|\Z)", f"%(ENV_{NOTHING})s", value.replace("%", "%%"))
