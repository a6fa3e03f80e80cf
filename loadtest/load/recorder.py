"""Takes note of every request: numbers it, times it, has it checked and writes it down."""

import time
from collections import Counter
from typing import Any

from loadtest.check.history import Sink
from loadtest.check.online import Checker
from loadtest.check.op import Kind, Op, Outcome


class Recorder:
    """The one place that knows all requests of this process.

    Between reading the clock and telling the checker nothing may wait, so that the checker sees
    events in the order of their times.
    """

    def __init__(self, checker: Checker, history: Sink, prefix: str = "", first: int = 0) -> None:
        """Labels of sessions begin with `prefix`, and requests are numbered from `first` + 1."""
        self.checker = checker
        self.lifetimes = checker.lifetimes
        self.prefix = prefix
        self.outcomes: Counter[Outcome] = Counter()
        self.workers: Counter[str] = Counter()
        self.cookies_withheld = 0
        self.arrivals = 0
        self.dropped = 0
        self._history = history
        self._pending: dict[int, Op] = {}
        self._closed = False
        self.requests = 0  # that have been sent
        self.sessions = 0  # that have been begun
        self._first = first

    def new_session(self) -> str:
        """A label for a session about to begin; the session's id itself is never stored."""
        self.sessions += 1
        return f"{self.prefix}s{self.sessions}"

    def invoke(
        self, kind: Kind, session: str, user: str, intended: int | None = None, **about: Any
    ) -> Op:
        """Call this just before sending; `about` are further fields of the record."""
        self.requests += 1
        entry = Op(
            self._first + self.requests,
            kind,
            session,
            user,
            invoked=time.monotonic_ns(),
            intended=intended,
            **about,
        )
        self._pending[entry.number] = entry
        self.checker.invoke(entry)
        return entry

    def returned(self, entry: Op) -> None:
        """Call this the moment the answer, or the error, is there."""
        entry.returned = time.monotonic_ns()

    def complete(self, entry: Op) -> None:
        """Call this once the answer has been read into `entry`, before anything else can wait."""
        if self._closed:
            return
        entry.returned = entry.returned or time.monotonic_ns()
        if entry.outcome is Outcome.UNKNOWN:
            entry.why = entry.why or "stopped while waiting"
        del self._pending[entry.number]
        self.outcomes[entry.outcome] += 1
        if entry.worker:
            self.workers[entry.worker] += 1
        self._history.write(entry)
        self.checker.complete(entry)

    def close(self) -> None:
        """End the history. Whatever is still in flight may have happened."""
        for entry in list(self._pending.values()):
            self.complete(entry)
        self._closed = True
        self._history.close()

    @property
    def in_flight(self) -> int:
        """How many requests wait for an answer."""
        return len(self._pending)
