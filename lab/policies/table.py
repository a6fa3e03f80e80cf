"""The comparison in the terminal."""

from __future__ import annotations

import math

from lab.policies.policies import BASE, BY_NAME
from lab.policies.results import Entry, Outcome, Results
from lab.table import as_text

HEADER = (
    *("fast requests, ms", "mean", "model", "p50", "p95", "p99", "worst user", "hurt", "spread"),
    "by round robin",
)


def render(results: Results) -> str:
    """One block a workload."""
    return "\n".join(_block(outcome) for outcome in results.outcomes)


def _block(outcome: Outcome) -> str:
    noise = "unknown" if math.isnan(outcome.noise) else f"{outcome.noise:.2f}x"
    rows = [_row(name, entry) for name, entry in outcome.entries.items()]
    return f"\n{outcome.workload.title}   (noise {noise})\n{as_text(HEADER, rows, right=True)}"


def _row(name: str, entry: Entry) -> list[str]:
    cell, model = entry.cell, entry.model
    title = BY_NAME[name].title
    if not cell.latencies:
        return [title, *["-"] * (len(HEADER) - 2), _difference(name, entry)]
    figures = (cell.mean, model.mean, cell.at(0.5), cell.at(0.95), cell.at(0.99))
    worst = "-" if math.isnan(cell.worst_user_p95) else f"{cell.worst_user_p95:.0f}"
    spread = "one" if math.isinf(cell.spread) else f"{cell.spread:.2f}"
    text = [f"{value:.1f}" for value in figures]
    return [title, *text, worst, f"{cell.users_hurt:.0%}", spread, _difference(name, entry)]


def _difference(name: str, entry: Entry) -> str:
    if entry.cell.invalid:
        return f"INVALID: {entry.cell.invalid[0]}"
    if name == BASE:
        return ""
    found = entry.difference
    return f"{found.ratio:.2f} ({found.low:.2f} to {found.high:.2f}) {found.word}"
