"""Begins and ends the runs of one Locust process; `distributed.py` has it for several processes."""

import os
import signal
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from locust.env import Environment

from loadtest.check.history import HistoryWriter
from loadtest.check.op import Invariant, Lifetimes
from loadtest.check.tally import Witness, describe
from loadtest.load.figures import Figures
from loadtest.load.generator import Generator
from loadtest.load.progress import report_progress
from loadtest.verdict import summary
from loadtest.verdict.verdict import Code, raised

FINISH_SECONDS = 150.0  # more than users, stragglers and lost processes together may take


class Conductor:
    """Alone in one process: it sends the requests, writes the history and leaves the summary."""

    def __init__(self, environment: Environment) -> None:
        options = environment.parsed_options
        assert options is not None
        self.environment = environment
        self.options = options
        self.out = Path(options.out)
        self.lifetimes = Lifetimes(options.idle_seconds, options.absolute_seconds)
        self.without = frozenset(filter(None, options.without.split(",")))
        self.generator: Generator | None = None
        self.running = self.stopping = False
        self._found = Code.PROVES_NOTHING
        self._over = Event()
        if options.attached:
            gevent.spawn(_watch_parent)

    def start(self) -> None:
        """A run begins."""
        self.running, self.stopping = True, False
        self._over.clear()
        self.begin()
        gevent.spawn(report_progress, self, self.options.seconds)
        if self.options.seconds:
            gevent.spawn_later(self.options.seconds, self.request_stop)

    def request_stop(self) -> None:
        """End the run, now that it is time or something went wrong; returns at once."""
        if self.running and not self.stopping and self.environment.runner is not None:
            self.stopping = True
            gevent.spawn(self.environment.runner.stop)

    def load_ends(self) -> None:
        """Locust stops its users: they finish the session they are in."""
        self.stopping = True
        if self.generator is not None:
            self.generator.stop()

    def load_ended(self) -> None:
        """Locust's users are gone: end the run and, without a web page, the process."""
        if not self.running:
            return
        self.running = False
        self._found = self.finish()
        self._over.set()
        if self.options.headless and self.environment.runner is not None:
            gevent.spawn(self.environment.runner.quit)

    def quit(self) -> None:
        """Locust ends, on its own or on a signal. A run under way gets its proper end first.

        The exit code is only ever raised: setting 0 would hide failures that Locust counted.
        """
        self.request_stop()
        if self.running or self.stopping:
            self._over.wait(FINISH_SECONDS)
        code = self.environment.process_exit_code
        self.environment.process_exit_code = raised(code, self._found)

    def begin(self) -> None:
        """Open the history and make the generator."""
        self.generator = Generator(0, self.lifetimes, self.open_history(), self.on_violation)

    def finish(self) -> Code:
        """Close the history and leave the summary; returns what was found."""
        assert self.generator is not None
        return self.leave(summary.combine([self.generator.finish()]))

    def figures(self) -> Figures:
        """What is known so far."""
        return self.generator.figures() if self.generator else Figures()

    def on_violation(self, invariant: Invariant, witness: Witness) -> None:
        """Print the first witness while it is fresh, and end the run."""
        if not self.stopping:
            self.alarm(str(invariant), [describe(op) for op in witness])

    def alarm(self, invariant: str, witness: list[str]) -> None:
        """Say it and stop."""
        print(f"\nVIOLATION of {invariant}: stopping. The requests that prove it:", flush=True)
        for line in witness:
            print(f"    {line}", flush=True)
        self.request_stop()

    def open_history(self) -> HistoryWriter:
        """A new history, which replaces that of the last run."""
        return HistoryWriter(self.out / "history.jsonl", self.lifetimes, seed=self.options.seed)

    def leave(self, whole: dict[str, Any]) -> Code:
        """Store the summary of the whole run."""
        total = self.environment.stats.total
        counts = {"locust_requests": total.num_requests, "locust_failures": total.num_failures}
        summary.store({**whole, **counts}, self.out / "summary.json")
        return summary.found(whole)


def _watch_parent() -> None:
    """End in order when the process that started this one is gone: nobody would read a verdict."""
    parent = os.getppid()
    while os.getppid() == parent:
        gevent.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
