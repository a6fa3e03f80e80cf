"""Two more tabs on Locust's web page: the stack's workers, and the invariants with their violations.

Locust's page shows any table that its template arguments describe, with the rows that the answer of
/stats/requests carries for it: the way its manual extends the page.
"""

import json
from collections.abc import Callable
from typing import Any

from flask import Response, request
from locust.web import WebUI

from loadtest.load.figures import Figures

WORKERS, INVARIANTS = "stack-workers", "invariants"
TITLES = {
    WORKERS: ("Workers of the stack", {"name": "Worker", "answers": "Answers", "share": "Share"}),
    INVARIANTS: (
        "Violations",
        {"name": "Invariant", "checked": "Checked", "violations": "Violations"},
    ),
}


def add_tabs(page: WebUI, figures: Callable[[], Figures]) -> None:
    """Extend the page; `figures` are asked for each time the page asks for its statistics."""
    page.template_args |= {
        "extended_tabs": [{"title": title, "key": key} for key, (title, _) in TITLES.items()],
        "extended_tables": [
            {
                "key": key,
                "structure": [{"key": name, "title": head} for name, head in columns.items()],
            }
            for key, (_, columns) in TITLES.items()
        ],
    }

    def add_rows(response: Response) -> Response:
        if request.path == "/stats/requests" and response.is_json:
            content = {**response.get_json(), "extended_stats": _rows(figures())}
            response.set_data(json.dumps(content))
        return response

    assert page.app is not None
    page.app.after_request(add_rows)


def _rows(figures: Figures) -> list[dict[str, Any]]:
    total = figures.workers.total()
    workers = [
        {"name": name, "answers": count, "share": f"{count / total:.2%}"}
        for name, count in sorted(figures.workers.items())
    ]
    invariants = [
        {"name": name, "checked": checked, "violations": violations}
        for name, (checked, violations) in figures.invariants.items()
    ]
    return [{"key": WORKERS, "data": workers}, {"key": INVARIANTS, "data": invariants}]
