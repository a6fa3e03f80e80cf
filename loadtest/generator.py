"""One run inside Locust: the recorder, the clock, and what only the generator can know."""

import json
import time
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment

from loadtest.history import HistoryWriter
from loadtest.model import Checker
from loadtest.operations import Invariant, Lifetimes, Outcome
from loadtest.recorder import Recorder
from loadtest.tally import Witness, describe
from loadtest.verdict import Code

DRAIN_SECONDS = 3.0  # for requests still in flight when the users are gone
ERRORS_KEPT = 20


class Generator:
    """Lives as long as the Locust process."""

    def __init__(self, environment: Environment) -> None:
        options = environment.parsed_options
        assert options is not None
        lifetimes = Lifetimes(options.idle_seconds, options.absolute_seconds)
        checker = Checker(lifetimes, self._stop_at_violation)
        self.options = options
        self.out = Path(options.out)
        self.recorder = Recorder(
            checker, HistoryWriter(self.out / "history.jsonl", lifetimes, seed=options.seed)
        )
        self.without = frozenset(filter(None, options.without.split(",")))
        self.errors: list[str] = []
        self.stopping = False
        self._environment = environment
        self._started = self._stopped = (0.0, 0.0)

    def start(self) -> None:
        """The load begins."""
        self._started = (time.monotonic(), time.process_time())

    def stop(self) -> None:
        """The load ends: users finish the session they are in."""
        self.stopping = True
        self._stopped = (time.monotonic(), time.process_time())

    def quit(self) -> None:
        """End the load early; returns at once."""
        self.stopping = True
        if self._environment.runner is not None:
            gevent.spawn(self._environment.runner.quit)

    def error(self, exception: BaseException) -> None:
        """A scenario raised something that is no answer of the stack: a bug in the load test."""
        if len(self.errors) < ERRORS_KEPT:
            self.errors.append(f"{type(exception).__name__}: {exception}")

    def finish(self) -> Code:
        """Wait for stragglers, end the history, leave the summary; returns what was found."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while self.recorder.in_flight and time.monotonic() < deadline:
            gevent.sleep(0.05)
        self.recorder.close()
        report = self.recorder.checker.finish()
        text = json.dumps(self._summary(), indent=1)
        (self.out / "summary.json").write_text(text + "\n", encoding="utf-8")
        if report.violations:
            return Code.CONSISTENCY
        if self.errors:
            return Code.HARNESS
        return Code.HOLDS if self.recorder.outcomes[Outcome.OK] else Code.PROVES_NOTHING

    def _summary(self) -> dict[str, Any]:
        recorder = self.recorder
        wall = self._stopped[0] - self._started[0]
        return {
            "requests": recorder.requests,
            "sessions": recorder.sessions,
            "arrivals": recorder.arrivals,
            "dropped": recorder.dropped,
            "cookies_withheld": recorder.cookies_withheld,
            "cpu_share": (self._stopped[1] - self._started[1]) / wall if wall > 0 else 0.0,
            "seconds": wall,
            "errors": self.errors,
            "online": recorder.checker.report.counts(),
            "locust_requests": self._environment.stats.total.num_requests,
            "locust_failures": self._environment.stats.total.num_failures,
        }

    def _stop_at_violation(self, invariant: Invariant, witness: Witness) -> None:
        """Print the first witness while it is fresh, and end the run."""
        if self.stopping:
            return
        print(f"\nVIOLATION of {invariant!s}: stopping. The requests that prove it:", flush=True)
        for op in witness:
            print(f"    {describe(op)}", flush=True)
        self.quit()
