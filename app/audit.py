"""Who did what: one JSON line for each security event, in a file of its own (ASVS 5.0 16.1 to 16.4).

docs/security.md has the events and their fields.  A line holds no password, no session id and no cookie; a
session is named by its `ref`, which is of no use in a cookie.
"""

from __future__ import annotations

import asyncio
import fcntl
import getpass
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from tornado.httputil import HTTPServerRequest

from app.allowance import Allowance
from app.sessions import Event, Session

NAME = "logs/security.log"  # in STACK_DIR
MAX_BYTES = 10_000_000
FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
BACKUPS = 9  # older files, .1 the newest
MAX_CHARACTERS = 100  # of a text that a stranger chose
# What a stranger can cause as often as he likes: so many lines at once, then one in ten seconds; the rest is
# counted.  Else a flood would push out what happened before it.
OF_STRANGERS = ("login_refused", "login_delayed", "cross_site_refused", "cookie_forged")
AT_ONCE, EVERY_SECONDS = 60, 10.0
COUNT_SECONDS = 60.0
OPERATOR = "operator"  # instead of a worker: a command such as `make user`
OPERATOR_REASONS = ("administrator", "password", "account")  # for which a command ends sessions
ON_ITS_OWN = ("expired", "unreadable")  # reasons for which nobody ended a session

log = logging.getLogger("app")


class Asker(Protocol):
    """A request: who asks, from where."""

    request: HTTPServerRequest
    request_id: str
    session: Session | None


# The request being answered, for what the session engine does in its course.
asking: ContextVar[Asker | None] = ContextVar("asking", default=None)


class Audit:
    """The log of one process; `worker` is its name in each line.

    A file that cannot be written is an error in the worker's log, and requests go on.
    """

    def __init__(
        self, stack_dir: Path, worker: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._file = SharedFile(stack_dir / NAME)
        self._worker = worker
        self._clock = clock
        self._allowances: dict[str, Allowance] = {}
        self._left_out: Counter[str] = Counter()
        self.counts: Counter[tuple[str, ...]] = Counter()  # by event and reason, those left out too

    def write(self, event: str, asker: Asker | None = None, **facts: Any) -> None:
        """One line, unless it is left out; what is empty has no field."""
        self.counts[event, facts.get("reason", "")] += 1
        if event not in OF_STRANGERS or self._may_write(event):
            self._append(event, facts | _about(asker))

    def of_session(self, event: Event) -> None:
        """What the session engine did; sessions of nobody are no security events."""
        if not event.user:
            return
        facts: dict[str, Any] = {"user": event.user, "session": event.ref, "reason": event.reason}
        if event.what == "created":
            self.write("login_accepted", asking.get(), **facts)
        elif event.reason in ON_ITS_OWN:
            self.write("session_ended", **facts)
        elif event.reason in OPERATOR_REASONS:
            self.write("session_ended", by=operator(), **facts)
        else:
            name = "logout" if event.reason == "logout" else "session_ended"
            self.write(name, asking.get(), **facts)

    def close(self) -> None:
        """Tell what has been left out so far; call it when the worker stops."""
        for event in list(self._left_out):
            self._tell_left_out(event)

    def _may_write(self, event: str) -> bool:
        if event not in self._allowances:
            self._allowances[event] = Allowance(AT_ONCE, 1 / EVERY_SECONDS, self._clock)
        if self._allowances[event].take():
            return True
        if not self._left_out[event]:
            asyncio.get_running_loop().call_later(COUNT_SECONDS, self._tell_left_out, event)
        self._left_out[event] += 1
        return False

    def _tell_left_out(self, event: str) -> None:
        if left_out := self._left_out.pop(event, 0):
            self._append(event, {"left_out": left_out})

    def _append(self, event: str, facts: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": now, "event": event, "worker": self._worker}
        line |= {name: _cut(value) for name, value in facts.items() if value not in ("", None)}
        # ASCII: no line break, control character or right-to-left mark of a name reaches a terminal.
        text = json.dumps(line, separators=(",", ":")).replace("\x7f", "\\u007f")
        try:
            self._file.append(f"{text}\n".encode())
        except OSError as error:
            log.error("the security log cannot be written: %s", error)


class SharedFile:
    """A file that several processes append to, each line whole; it is renamed when it is full."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, backups: int = BACKUPS) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._backups = backups

    def append(self, line: bytes) -> None:
        """Opened anew each time: another process, or logrotate, may have renamed it.  Raises OSError."""
        try:
            file = os.open(self._path, FLAGS, 0o600)
        except FileNotFoundError:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self._path, FLAGS, 0o600)
        try:
            os.write(file, line)
            full = os.fstat(file).st_size >= self._max_bytes
        finally:
            os.close(file)
        if full:
            self._rotate()

    def _rotate(self) -> None:
        with open(self._path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._path.exists() or self._path.stat().st_size < self._max_bytes:
                return  # another process was faster
            for number in range(self._backups, 0, -1):
                older = self._numbered(number - 1)
                if older.exists():
                    older.replace(self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path


def operator() -> str:
    """Who runs a command, as this machine calls them."""
    try:
        return f"{OPERATOR} {getpass.getuser()}"
    except (KeyError, OSError):  # a number without a name, as in some containers
        return OPERATOR


def _about(asker: Asker | None) -> dict[str, Any]:
    """From where a request comes, and by which session."""
    if asker is None:
        return {}
    session = asker.session
    return {
        "address": asker.request.remote_ip,
        "request_id": asker.request_id,
        "by": "" if session is None or session.anonymous else session.ref,
    }


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MAX_CHARACTERS:
        return value[:MAX_CHARACTERS] + "…"
    return value
