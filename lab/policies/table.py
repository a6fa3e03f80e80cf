"""The comparison in the terminal."""

import math
from collections.abc import Iterator

from lab.policies.policies import BASE, BY_NAME
from lab.policies.results import Entry, Outcome, Results

HEAD = (
    f"{'fast requests, ms':22}{'mean':>8}{'model':>8}{'p50':>8}{'p95':>8}{'p99':>8}"
    f"{'worst user':>12}{'hurt':>6}{'spread':>8}   by round robin"
)


def render(results: Results) -> str:
    """One block a workload."""
    return "\n".join(line for outcome in results.outcomes for line in _block(outcome))


def _block(outcome: Outcome) -> Iterator[str]:
    noise = "unknown" if math.isnan(outcome.noise) else f"{outcome.noise:.2f}x"
    yield f"\n{outcome.workload.title}   (noise {noise})"
    yield HEAD
    for name, entry in outcome.entries.items():
        yield _line(name, entry)


def _line(name: str, entry: Entry) -> str:
    cell, model = entry.cell, entry.model
    title = BY_NAME[name].title
    if not cell.latencies:
        return f"{title:22}invalid: {cell.invalid[0]}"
    figures = (cell.mean, model.mean, cell.at(0.5), cell.at(0.95), cell.at(0.99))
    text = "".join(f"{value:8.1f}" for value in figures)
    spread = f"{cell.spread:.2f}" if cell.spread != float("inf") else "one"
    worst = f"{cell.worst_user_p95:.0f}" if cell.worst_user_p95 == cell.worst_user_p95 else "-"
    text += f"{worst:>12}{cell.users_hurt:6.0%}{spread:>8}"
    return f"{title:22}{text}   {_verdict(name, entry)}"


def _verdict(name: str, entry: Entry) -> str:
    if entry.cell.invalid:
        return f"INVALID: {entry.cell.invalid[0]}"
    difference = entry.difference
    if name == BASE:
        return ""
    return (
        f"{difference.ratio:5.2f} ({difference.low:.2f} to {difference.high:.2f}) {difference.word}"
    )
