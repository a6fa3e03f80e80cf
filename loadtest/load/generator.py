"""One process that sends requests, for one run: the recorder, the clock, and what only it can know."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import gevent

from loadtest.check.history import Sink
from loadtest.check.online import Checker
from loadtest.check.op import Invariant, Lifetimes, Outcome
from loadtest.check.tally import Witness
from loadtest.load.browser import LoginFailed
from loadtest.load.cpu import run_and_waited
from loadtest.load.figures import Figures, add_counts
from loadtest.load.recorder import Recorder
from loadtest.verdict.latency import percentile

COMPANION_SECONDS = 30.0  # for what runs beside the users to come to its end
DRAIN_SECONDS = 3.0  # for requests still in flight then
ERRORS_KEPT = 20
SPACING = 10**9  # so many requests a process may number before it would meet its neighbour
PACE_SECONDS = 0.5
ALARM_SECONDS = 0.05
BUSY = 0.7  # of a core: users pause longer from there on, so that what is measured is not the generator
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 2.0
ADDED = ("requests", "sessions", "arrivals", "dropped", "cookies_withheld", "others_failed")
# One process at its limit spoils the run, however idle others are.
HIGHEST = ("cpu_share", "seconds", "stall_milliseconds", "cpu_wait")


class Generator:
    """Made when a run begins; processes that run together are told apart by `index`."""

    def __init__(
        self,
        index: int,
        lifetimes: Lifetimes,
        history: Sink,
        on_violation: Callable[[Invariant, Witness], None],
    ) -> None:
        prefix = f"g{index}-" if index else ""
        checker = Checker(lifetimes, on_violation)
        self.recorder = Recorder(checker, history, prefix, index * SPACING)
        self.first = index <= 1  # of several processes: what is to run once runs here
        self.stopping = False
        self.pause = 0.0  # seconds between two sessions of a user
        self.others_failed = 0  # requests of user classes that do not record them
        self.others_served: Counter[str] = Counter()  # of these, by worker of the stack
        self._visitors = 0
        self._errors: list[str] = []
        self._companions: list[gevent.Greenlet] = []
        self._started = self._stopped = (time.monotonic(), time.process_time())
        self._scheduled = (run_and_waited(), run_and_waited())
        self._late: list[float] = []
        gevent.spawn(self._keep_pace)
        gevent.spawn(self._watch_clock)

    def accompany(self, companions: Iterable[Callable[[], None]]) -> None:
        """Run these beside Locust's users; each ends when the load does."""
        for companion in companions:
            self._companions.append(gevent.spawn(self._run, companion))

    def next_visitor(self) -> str:
        """A name that no other visitor of this run has."""
        self._visitors += 1
        return f"{self.recorder.prefix}{self._visitors}"

    def is_over(self) -> bool:
        """Whether the load has ended."""
        return self.stopping

    def stop(self) -> None:
        """The load ends: users finish the session they are in."""
        if not self.stopping:
            self.stopping = True
            self._stopped = (time.monotonic(), time.process_time())
            self._scheduled = (self._scheduled[0], run_and_waited())

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
            dict(recorder.workers),
            recorder.checker.report.counts(),
        )

    def finish(self) -> dict[str, Any]:
        """Wait for stragglers and end the history; returns the summary of this process."""
        self.stop()
        gevent.joinall(self._companions, timeout=COMPANION_SECONDS)
        deadline = time.monotonic() + DRAIN_SECONDS
        while self.recorder.in_flight and time.monotonic() < deadline:
            gevent.sleep(0.05)
        self.recorder.close()
        self.recorder.checker.finish()
        return self._summary()

    def _run(self, companion: Callable[[], None]) -> None:
        try:
            companion()
        except LoginFailed:
            pass  # recorded as a failed request
        except Exception as error:
            self.error(error)

    def _keep_pace(self) -> None:
        """Let users pause while this process is too busy to measure anything but itself."""
        clock, busy = time.monotonic(), time.process_time()
        while not self.stopping:
            gevent.sleep(PACE_SECONDS)
            now, used = time.monotonic(), time.process_time()
            share, clock, busy = (used - busy) / (now - clock), now, used
            wanted = max(self.pause, FIRST_PAUSE_SECONDS) * (share / BUSY) ** 2
            self.pause = min(LONGEST_PAUSE_SECONDS, wanted) if wanted > FIRST_PAUSE_SECONDS else 0.0

    def _watch_clock(self) -> None:
        """By how much this machine is late, whatever the stack does."""
        while not self.stopping:
            due = time.monotonic() + ALARM_SECONDS
            gevent.sleep(ALARM_SECONDS)
            self._late.append(1000 * (time.monotonic() - due))

    def _summary(self) -> dict[str, Any]:
        recorder = self.recorder
        wall, busy = (
            after - before for before, after in zip(self._started, self._stopped, strict=True)
        )
        run, waited = (after - before for before, after in zip(*self._scheduled, strict=True))
        return {
            "requests": recorder.requests,
            "sessions": recorder.sessions,
            "arrivals": recorder.arrivals,
            "dropped": recorder.dropped,
            "cookies_withheld": recorder.cookies_withheld,
            "others_failed": self.others_failed,
            "others_served": dict(self.others_served),
            "cpu_share": busy / wall if wall > 0 else 0.0,
            "seconds": wall,
            "cpu_wait": waited / run if run else 0.0,
            "stall_milliseconds": percentile(sorted(self._late), 0.99) if self._late else 0.0,
            "errors": self._errors,
            "online": recorder.checker.report.counts(),
        }


def combine(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """One summary of a run from those of its processes."""
    served: Counter[str] = Counter()
    for summary in summaries:
        served.update(summary["others_served"])
    return {
        "others_served": dict(served),
        **{name: sum(summary[name] for summary in summaries) for name in ADDED},
        **{name: max((summary[name] for summary in summaries), default=0.0) for name in HIGHEST},
        "errors": [error for summary in summaries for error in summary["errors"]],
        "online": add_counts(summary["online"] for summary in summaries),
        "processes": len(summaries),
    }
