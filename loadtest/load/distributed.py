"""Several generator processes: the workers send, and ship all they know to the master.

Here a worker is one of Locust's, a process that sends requests; elsewhere it is one of the stack.
"""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gevent
from locust.runners import STATE_MISSING, MasterRunner, WorkerRunner

from loadtest.check.history import HistoryWriter, encode_line
from loadtest.check.op import Op
from loadtest.load.conductor import Conductor
from loadtest.load.figures import Figures, add_up
from loadtest.load.generator import COMPANION_SECONDS, combine
from loadtest.plan import Plan

BATCH = 500  # requests a message
REPORT_SECONDS = 0.9  # a little more often than the progress line comes
# For the last summary, once the users of all workers are gone.
SUMMARY_SECONDS = COMPANION_SECONDS + 20.0
LEAVE_SECONDS = 1.0  # between a worker's summary and its end: what is on its way must arrive


class Shipment:
    """A history that goes to the master, some hundred lines at a time."""

    def __init__(self, runner: WorkerRunner) -> None:
        self._runner = runner
        self._lines: list[str] = []

    def write(self, op: Op) -> None:
        """Take one finished request."""
        self._lines.append(encode_line(op))
        if len(self._lines) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Send what has gathered."""
        lines, self._lines = self._lines, []
        if lines:
            self._runner.send_message("history", {"lines": lines})

    def close(self) -> None:
        """Send the rest."""
        self.flush()


class Worker(Conductor):
    """One of several processes that send requests."""

    runner: WorkerRunner

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.judges = False
        self._shipment = Shipment(self.runner)

    def start(self) -> None:
        """The master has begun a run; Locust hands on the plan among its own options."""
        self.running, self.stopping, self.alarmed = True, False, False
        self.plan = Plan.from_json(self.options.plan)
        self.make_generator(self.runner.worker_index + 1, self._shipment)
        gevent.spawn(self._report)

    def request_stop(self) -> None:
        """Only the master ends a run."""

    def load_ended(self) -> None:
        """Ship the rest and the summary; a worker serves one run unless the master has a web page."""
        if not self.running:
            return
        self.running = False
        assert self.generator is not None
        self.runner.send_message("summary", self.generator.finish())
        if self.options.once:
            gevent.spawn_later(LEAVE_SECONDS, self.runner.quit)

    def quit(self) -> None:
        """The process ends; its exit code is not the verdict's."""

    def alarm(self, invariant: str, witness: list[str]) -> None:
        """The master says it and stops all."""
        if not self.alarmed:
            self.alarmed = True
            self.runner.send_message("violation", {"invariant": invariant, "witness": witness})

    def _report(self) -> None:
        """Keep the master up to date; what it has is not lost when this process is."""
        while self.running:
            gevent.sleep(REPORT_SECONDS)
            self._shipment.flush()
            self.runner.send_message("figures", asdict(self.figures()))


class Master(Conductor):
    """Sends nothing itself: it gathers histories, violations and summaries."""

    runner: MasterRunner

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._expected: set[str] = set()
        self._figures: dict[str, Figures] = {}
        self._summaries: dict[str, dict[str, Any]] = {}
        self._broken: dict[str, set[str]] = {}
        for name in ("figures", "history", "summary", "violation"):
            self.runner.register_message(name, getattr(self, f"_take_{name}"))

    def begin(self) -> None:
        """Tell the plan to everyone who is connected now, and expect a history and a summary of each."""
        assert self.plan is not None
        self.options.plan, self.options.once = self.plan.to_json(), bool(self.options.headless)
        self._expected = {client.id for client in self.runner.clients.ready}
        self._figures.clear()
        self._summaries.clear()
        self._broken.clear()

    def finish(self) -> None:
        """Wait for the summaries, join the histories that are whole, and say who was lost."""
        assert self.plan is not None
        deadline = time.monotonic() + SUMMARY_SECONDS
        while self._awaited() and time.monotonic() < deadline:
            gevent.sleep(0.1)
        lost = self._expected - self._summaries.keys()
        lifetimes, header = self.plan.survey.lifetimes, self.plan.header()
        with HistoryWriter(self.folder / "history.jsonl", lifetimes, **header) as history:
            for client in sorted(self._summaries):
                part = self._part(client)
                if part.exists():
                    history.append_file(part)
                    part.unlink()
        broken = sorted(set().union(*(self._broken.get(client, set()) for client in lost)))
        whole = combine(list(self._summaries.values()))
        self.leave({**whole, "lost_processes": len(lost), "broken_in_lost": broken})

    def figures(self) -> Figures:
        """What the workers last reported."""
        return add_up([*self._figures.values()])

    def _awaited(self) -> set[str]:
        """Who owes a summary and is alive, as far as Locust's heartbeat knows."""
        alive = {client.id for client in self.runner.clients.all if client.state != STATE_MISSING}
        return (self._expected & alive) - self._summaries.keys()

    def _part(self, client: str) -> Path:
        index = self.runner.get_worker_index(client)  # type: ignore[no-untyped-call]
        return self.folder / f"history-of-{index}.jsonl"

    def _take_figures(self, msg: Any, **_: Any) -> None:
        self._figures[msg.node_id] = Figures(**msg.data)

    def _take_history(self, msg: Any, **_: Any) -> None:
        with self._part(msg.node_id).open("a", encoding="utf-8") as file:
            file.writelines(msg.data["lines"])

    def _take_summary(self, msg: Any, **_: Any) -> None:
        self._summaries[msg.node_id] = msg.data

    def _take_violation(self, msg: Any, **_: Any) -> None:
        self._broken.setdefault(msg.node_id, set()).add(msg.data["invariant"])
        self.alarm(msg.data["invariant"], msg.data["witness"])
