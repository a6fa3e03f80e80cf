"""Begins and ends the runs of one Locust process; `distributed.py` has it for several processes."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from locust.env import Environment
from locust.runners import Runner

from loadtest.check.history import HistoryWriter, Sink
from loadtest.check.op import Invariant
from loadtest.check.tally import Witness, explain
from loadtest.load.figures import Figures
from loadtest.load.generator import Generator, combine
from loadtest.load.preflight import NotReachable, look_round
from loadtest.plan import STOP_SECONDS, Plan, link_files, make_plan
from loadtest.settings import Settings
from loadtest.verdict.analysis import analyse
from loadtest.verdict.table import closing, render, store
from loadtest.verdict.verdict import Code, Verdict, no_run, raised

FINISH_SECONDS = 150.0  # more than users, stragglers and lost processes together may take
AFTER_VIOLATION_SECONDS = 1.5  # so that more than one request says where it is wrong
Accompany = Callable[[Generator], Iterable[Callable[[], None]]]


class Conductor:
    """Alone in one process: it sends the requests, writes the history and leaves the summary.

    With a plan it was started by `python -m loadtest`, which judges the run. Without one, as by a user
    of Locust or for its web page, it looks at the stack, judges each run and says so itself.
    """

    runner: Runner

    def __init__(
        self, environment: Environment, settings: Settings, plan: Plan | None, accompany: Accompany
    ) -> None:
        assert environment.runner is not None
        self.environment, self.runner = environment, environment.runner
        self.options: Any = environment.parsed_options
        self.settings = settings
        self.plan = plan
        self.judges = plan is None
        self.generator: Generator | None = None
        self.running = self.stopping = self.alarmed = False
        self.verdict: list[tuple[int, str]] = []  # of the last run, for the page
        self.seconds = self._take_run_time()
        # Locust's own default would cut off requests, and nobody would know what became of them.
        environment.stop_timeout = environment.stop_timeout or STOP_SECONDS
        self._accompany = accompany
        self._found = Code.PROVES_NOTHING
        self._text = closing(no_run(Code.PROVES_NOTHING, "no run was started"))
        self._over = Event()
        self._progress = gevent.Greenlet()

    @property
    def folder(self) -> Path:
        """Where the files of this run lie."""
        assert self.plan is not None
        return Path(self.plan.folder)

    def look_round(self) -> bool:
        """Make the plan of a run; False when there is no stack to test."""
        host = (self.environment.host or self.settings.host).rstrip("/")
        settings = replace(self.settings, host=host, duration=int(self.seconds))
        try:
            self.plan = make_plan(settings, look_round(settings))
        except NotReachable as error:
            self._set(no_run(Code.NOT_REACHABLE, str(error)))
            return False
        return True

    def start(self) -> None:
        """A run begins; on the web page each has a plan of its own."""
        if self.judges and not self.options.headless and not self.look_round():
            gevent.spawn_later(AFTER_VIOLATION_SECONDS, self.runner.stop)
            return
        self.running, self.stopping, self.alarmed = True, False, False
        self._over.clear()
        self.begin()
        self._progress = gevent.spawn(self._report_progress)
        if self.seconds:
            gevent.spawn_later(self.seconds, self.request_stop)

    def request_stop(self) -> None:
        """End the run, now that it is time or something went wrong; returns at once."""
        if self.running and not self.stopping:
            self.stopping = True
            gevent.spawn(self.runner.stop)

    def load_ends(self) -> None:
        """Locust stops its users: they finish the session they are in."""
        self.stopping = True
        if self.generator is not None:
            self.generator.stop()

    def load_ended(self) -> None:
        """Locust's users are gone: end the run, judge it and, without a web page, end the process."""
        if not self.running:
            return
        self.running = False
        try:
            self.finish()
        finally:
            self._progress.kill()
        if self.judges:
            print("  judging the history …", flush=True)
            self._judge()
        self._over.set()
        if self.options.headless:
            gevent.spawn(self.runner.quit)

    def quit(self) -> None:
        """Locust ends, on its own or on a signal. A run under way gets its proper end first.

        The exit code is only ever raised: setting 0 would hide failures that Locust counted.
        """
        self.request_stop()
        if self.running or self.stopping:
            self._over.wait(FINISH_SECONDS)
        code = self.environment.process_exit_code
        self.environment.process_exit_code = raised(code, self._found)

    def say(self) -> None:
        """The last word, after Locust's own tables."""
        if self.judges:
            print(f"\n{self._text}", flush=True)

    def begin(self) -> None:
        """Open the history and make the generator."""
        assert self.plan is not None
        lifetimes, header = self.plan.survey.lifetimes, self.plan.header()
        history = HistoryWriter(self.folder / "history.jsonl", lifetimes, **header)
        self.make_generator(0, history)

    def make_generator(self, index: int, history: Sink) -> None:
        """The generator of this process, and what runs beside Locust's users."""
        assert self.plan is not None
        self.generator = Generator(index, self.plan.survey.lifetimes, history, self.on_violation)
        self.generator.accompany(self._accompany(self.generator))

    def finish(self) -> None:
        """Close the history and leave the summary."""
        assert self.generator is not None
        self.leave(combine([self.generator.finish()]))

    def figures(self) -> Figures:
        """What is known so far."""
        return self.generator.figures() if self.generator else Figures()

    def on_violation(self, invariant: Invariant, witness: Witness) -> None:
        """Print the first witness while it is fresh, and end the run unless it is to go on."""
        self.alarm(str(invariant), explain(witness))

    def alarm(self, invariant: str, witness: list[str]) -> None:
        """Say it once, and stop a little later."""
        if self.alarmed or self.plan is None:
            return
        self.alarmed = True
        goes_on = bool(self.plan.settings["go_on"])
        then = "going on" if goes_on else "stopping"
        print(f"\nVIOLATION of {invariant}: {then}. The requests that prove it:", flush=True)
        for line in witness:
            print(f"    {line}", flush=True)
        if not goes_on:
            gevent.spawn_later(AFTER_VIOLATION_SECONDS, self.request_stop)

    def leave(self, whole: dict[str, Any]) -> None:
        """Store the summary of the whole run for whoever judges it, and a code for Locust to end with."""
        sent = {"locust_requests": self.environment.stats.total.num_requests}  # by all user classes
        text = json.dumps({**whole, **sent}, indent=1)
        (self.folder / "summary.json").write_text(text + "\n", encoding="utf-8")
        broken = any(violations for _, violations in whole["online"].values())
        self._found = Code.CONSISTENCY if broken else Code.HOLDS

    def _take_run_time(self) -> float:
        """--run-time, out of Locust's hands: it would not wait for sessions to be finished.

        On the web page it stays in the form, and the page stops the run.
        """
        if not self.options.headless and not self.options.autostart:
            return 0.0
        seconds, self.options.run_time = self.options.run_time, None
        return float(seconds or 0)

    def _judge(self) -> None:
        """What the run is worth: for the exit code, and for whoever looks at the page."""
        try:
            analysis, _ = analyse(self.folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._set(no_run(Code.HARNESS, f"there is no whole run: {error!r}"))
            return
        self._set(analysis.verdict)
        self._text = render(analysis)
        store(analysis, self.folder)
        link_files(self.folder, self.settings.out)

    def _set(self, verdict: Verdict) -> None:
        self._found, self._text = verdict.code, closing(verdict)
        reasons = [(int(code), text) for code, text in verdict.reasons]
        self.verdict = [(int(verdict.code), verdict.sentence), *reasons]

    def _report_progress(self) -> None:
        """Print a line every few seconds, until this greenlet is killed."""
        interval = min(5.0, max(1.0, self.seconds / 6)) if self.seconds else 5.0
        start, before = time.monotonic(), 0
        while True:
            gevent.sleep(interval)
            elapsed, figures = time.monotonic() - start, self.figures()
            left = f", {max(0.0, self.seconds - elapsed):3.0f} s left" if self.seconds else ""
            left = ", the last sessions end" if self.stopping else left
            rate = f"{(figures.requests - before) / interval:6,.0f} requests/s"
            print(f"  {elapsed:4.0f} s{left}   {rate}   {figures}", flush=True)
            before = figures.requests


def watch_parent() -> None:
    """End in order when the process that started this one is gone: nobody would read a verdict."""
    parent = os.getppid()
    while os.getppid() == parent:
        gevent.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
