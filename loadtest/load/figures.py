"""What is known while a run goes on: for the line that it prints, and for tabs of Locust's web page.

Locust's page shows any table that its template arguments describe, with the rows that the answer of
/stats/requests carries for it: the way its manual extends the page.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
    workers: dict[str, int] = field(default_factory=dict)  # answers by worker of the stack
    invariants: dict[str, tuple[int, int]] = field(default_factory=dict)  # checked, violations

    @property
    def violations(self) -> int:
        """All invariants together."""
        return sum(violations for _, violations in self.invariants.values())

    def __str__(self) -> str:
        return (
            f"{self.failed:,} failed   {self.unknown:,} unknown   {len(self.workers)} workers"
            f"   {self.violations:,} violations"
        )


def add_up(parts: Sequence[Figures]) -> Figures:
    """The sum over several generator processes."""
    workers: Counter[str] = Counter()
    for part in parts:
        workers.update(part.workers)
    return Figures(
        sum(part.requests for part in parts),
        sum(part.failed for part in parts),
        sum(part.unknown for part in parts),
        workers,
        add_counts(part.invariants for part in parts),
    )


def add_counts(parts: Iterable[Mapping[str, Sequence[int]]]) -> dict[str, tuple[int, int]]:
    """What was checked and what was broken of each invariant, over several processes."""
    total: dict[str, tuple[int, int]] = {}
    for part in parts:
        for name, (checked, violations) in part.items():
            before = total.get(name, (0, 0))
            total[name] = (before[0] + checked, before[1] + violations)
    return total


def add_tabs(page: WebUI, look: Callable[[], tuple[Figures, list[tuple[int, str]]]]) -> None:
    """Extend the page, which looks each time it asks for its statistics: at the last run's verdict, too."""
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
            content = {**response.get_json(), "extended_stats": _rows(*look())}
            response.set_data(json.dumps(content))
        return response

    assert page.app is not None
    page.app.after_request(add_rows)


def _rows(figures: Figures, verdict: list[tuple[int, str]]) -> list[dict[str, Any]]:
    total = sum(figures.workers.values())
    rows = {
        "verdict": [{"code": code, "text": text} for code, text in verdict],
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
