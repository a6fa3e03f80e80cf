"""The run in the terminal: a line a step, then every goal with what was measured."""

from __future__ import annotations

from collections.abc import Iterator

from lab.streams.results import Found, Probe, Step, goals
from lab.streams.stack import ROLES
from lab.table import as_markdown, as_text

HEADER = (
    *("streams", "connects/s", "KiB each: worker", "nginx", "redis"),
    *("p50 ms", "p99 ms", "alert p50 s", "p99 s", "logout s"),
)


def render(found: Found, *, with_goals: bool = True) -> str:
    """Everything as text."""
    steps = as_text(HEADER, list(_rows(found)), right=True)
    told = [f"{goal.word:6}  {goal.text}: {goal.measured}" for goal in goals(found)]
    return "\n".join([steps, "", *(told if with_goals else []), *_endings(found)])


def goals_table(found: Found) -> str:
    """The goals for a document."""
    rows = [(goal.text, goal.measured, goal.word) for goal in goals(found)]
    return as_markdown(("goal", "measured", ""), rows)


def _rows(found: Found) -> Iterator[list[str]]:
    if found.zero:
        yield _without("0", found.zero)
    yield from map(_row, found.steps)
    if found.zero_again:
        yield _without("0 again", found.zero_again)


def _without(name: str, probe: Probe) -> list[str]:
    return [name, "", "", "", "", f"{probe.p50:.1f}", f"{probe.p99:.1f}", "", "", ""]


def _row(step: Step) -> list[str]:
    sizes = [step.bytes_per_stream.get(role) for role in ROLES]
    return [
        *(f"{step.streams:,}", f"{step.connects_per_second:,.0f}"),
        *(f"{size / 1024:.1f}" if size is not None else "-" for size in sizes),
        *(f"{step.probe.p50:.1f}", f"{step.probe.p99:.1f}"),
        *(f"{step.delivery_p50:.2f}", f"{step.delivery_p99:.2f}", f"{step.logout_seconds:.2f}"),
    ]


def _endings(found: Found) -> Iterator[str]:
    """Which resource ended the run, or how full the fullest process was."""
    most = max((step.streams for step in found.steps), default=0)
    full = [
        f"{role} {used:,} of {limit:,}"
        for role, (used, limit) in found.fullest.items()
        if limit > 1
    ]
    if found.stopped_by:
        yield f"Stopped by {found.stopped_by}."
    else:
        files = f" Open files of the fullest process: {', '.join(full)}." if full else ""
        yield f"No limit was met up to {most:,} streams.{files}"
    if found.interrupted:
        yield "Interrupted: this is what was done before."
