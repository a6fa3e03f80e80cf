"""One process that sends requests, for one run: the recorder, the clock, and what only it can know."""

import time
from collections.abc import Callable
from typing import Any

import gevent

from loadtest.check.history import Sink
from loadtest.check.online import Checker
from loadtest.check.op import Invariant, Lifetimes, Outcome
from loadtest.check.tally import Witness
from loadtest.load.figures import Figures
from loadtest.load.recorder import Recorder

DRAIN_SECONDS = 3.0  # for requests still in flight when the users are gone
ERRORS_KEPT = 20
SPACING = 10**9  # so many requests a process may number before it would meet its neighbour


class Generator:
    """Made when a run begins; processes that run together are told apart by `index`."""

    def __init__(
        self,
        index: int,
        lifetimes: Lifetimes,
        history: Sink,
        on_violation: Callable[[Invariant, Witness], None],
    ) -> None:
        self.prefix = f"g{index}-" if index else ""
        checker = Checker(lifetimes, on_violation)
        self.recorder = Recorder(checker, history, self.prefix, index * SPACING)
        self.stopping = False
        self._errors: list[str] = []
        self._started = self._stopped = (time.monotonic(), time.process_time())

    def stop(self) -> None:
        """The load ends: users finish the session they are in."""
        if not self.stopping:
            self.stopping = True
            self._stopped = (time.monotonic(), time.process_time())

    def error(self, exception: BaseException) -> None:
        """A scenario raised something that is no answer of the stack: a bug in the load test."""
        if len(self._errors) < ERRORS_KEPT:
            self._errors.append(f"{type(exception).__name__}: {exception}")

    def figures(self) -> Figures:
        """What is known so far."""
        recorder = self.recorder
        return Figures(
            recorder.requests,
            recorder.outcomes[Outcome.FAIL],
            recorder.outcomes[Outcome.UNKNOWN],
            recorder.workers.copy(),
            recorder.checker.report.counts(),
        )

    def finish(self) -> dict[str, Any]:
        """Wait for stragglers and end the history; returns the summary of this process."""
        self.stop()
        deadline = time.monotonic() + DRAIN_SECONDS
        while self.recorder.in_flight and time.monotonic() < deadline:
            gevent.sleep(0.05)
        self.recorder.close()
        self.recorder.checker.finish()
        return self._summary()

    def _summary(self) -> dict[str, Any]:
        recorder = self.recorder
        wall, busy = (
            after - before for before, after in zip(self._started, self._stopped, strict=True)
        )
        return {
            "requests": recorder.requests,
            "sessions": recorder.sessions,
            "arrivals": recorder.arrivals,
            "dropped": recorder.dropped,
            "cookies_withheld": recorder.cookies_withheld,
            "cpu_share": busy / wall if wall > 0 else 0.0,
            "seconds": wall,
            "errors": self._errors,
            "online": recorder.checker.report.counts(),
        }
