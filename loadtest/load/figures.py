"""What is known while a run goes on: for the line that it prints, and for tabs of Locust's web page.

Locust's page shows any table that its template arguments describe, with the rows that the answer of
/stats/requests carries for it: the way its manual extends the page.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import gevent
from flask import Response, request
from locust.web import WebUI

TABS = {
    "verdict": ("Verdict", {"code": "Exit code", "text": "Of the last run"}),
    "stack-workers": (
        "Workers of the stack",
        {"name": "Worker", "answers": "Answers", "share": "Share"},
    ),
    "invariants": (
        "Violations",
        {"name": "Invariant", "checked": "Checked", "violations": "Violations"},
    ),
}


@dataclass(slots=True)
class Figures:
    """Counts of one generator process, or of all together."""

    requests: int = 0
    failed: int = 0
    unknown: int = 0
    workers: Counter[str] = field(default_factory=Counter)  # answers by worker of the stack
    invariants: dict[str, tuple[int, int]] = field(default_factory=dict)  # checked, violations

    @property
    def violations(self) -> int:
        """All invariants together."""
        return sum(violations for _, violations in self.invariants.values())

    def to_message(self) -> dict[str, Any]:
        """As a message between processes carries it; `asdict` would spoil the Counter."""
        return {
            "counts": (self.requests, self.failed, self.unknown),
            "workers": dict(self.workers),
            "invariants": self.invariants,
        }


def from_message(data: dict[str, Any]) -> Figures:
    """The figures that `to_message` made."""
    pairs = {name: (checked, broken) for name, (checked, broken) in data["invariants"].items()}
    requests, failed, unknown = data["counts"]
    return Figures(requests, failed, unknown, Counter(data["workers"]), pairs)


def add_up(parts: Iterable[Figures]) -> Figures:
    """The sum over several generator processes."""
    total = Figures()
    for part in parts:
        total.requests += part.requests
        total.failed += part.failed
        total.unknown += part.unknown
        total.workers.update(part.workers)
        for name, (checked, violations) in part.invariants.items():
            before = total.invariants.get(name, (0, 0))
            total.invariants[name] = (before[0] + checked, before[1] + violations)
    return total


class Run(Protocol):
    """What is watched."""

    stopping: bool  # users finish the session they are in
    verdict: list[tuple[int, str]]  # of the run before

    def figures(self) -> Figures:
        """What is known so far."""


def report_progress(run: Run, duration: float) -> None:
    """Print a line every few seconds, until this greenlet is killed; `duration` 0: the run has no set end."""
    interval = min(5.0, max(1.0, duration / 6)) if duration else 5.0
    start, before = time.monotonic(), 0
    while True:
        gevent.sleep(interval)
        elapsed, figures = time.monotonic() - start, run.figures()
        left = f", {max(0.0, duration - elapsed):3.0f} s left" if duration else ""
        left = ", the last sessions end" if run.stopping else left
        print(_line(figures, elapsed, left, (figures.requests - before) / interval), flush=True)
        before = figures.requests


def _line(figures: Figures, elapsed: float, left: str, rate: float) -> str:
    return (
        f"  {elapsed:4.0f} s{left}   {rate:6,.0f} requests/s"
        f"   {figures.failed:,} failed"
        f"   {figures.unknown:,} unknown"
        f"   {len(figures.workers)} workers"
        f"   {figures.violations:,} violations"
    )


def add_tabs(page: WebUI, run: Callable[[], Run]) -> None:
    """Extend the page; the run is asked each time the page asks for its statistics."""
    page.template_args |= {
        "extended_tabs": [{"title": title, "key": key} for key, (title, _) in TABS.items()],
        "extended_tables": [
            {
                "key": key,
                "structure": [{"key": name, "title": head} for name, head in columns.items()],
            }
            for key, (_, columns) in TABS.items()
        ],
    }

    def add_rows(response: Response) -> Response:
        if request.path == "/stats/requests" and response.is_json:
            content = {**response.get_json(), "extended_stats": _rows(run())}
            response.set_data(json.dumps(content))
        return response

    assert page.app is not None
    page.app.after_request(add_rows)


def _rows(run: Run) -> list[dict[str, Any]]:
    figures = run.figures()
    total = figures.workers.total()
    rows = {
        "verdict": [{"code": code, "text": text} for code, text in run.verdict],
        "stack-workers": [
            {"name": name, "answers": count, "share": f"{count / total:.2%}"}
            for name, count in sorted(figures.workers.items())
        ],
        "invariants": [
            {"name": name, "checked": checked, "violations": violations}
            for name, (checked, violations) in figures.invariants.items()
        ],
    }
    return [{"key": key, "data": data} for key, data in rows.items()]
