"""The run in the terminal: a line a step, then every goal with what was measured."""

from collections.abc import Iterator

from lab.streams.results import Found, Probe, Step, goals
from lab.streams.stack import ROLES

HEAD = (
    f"{'streams':>8}{'connects/s':>12}{'KiB a stream: worker':>22}{'nginx':>8}{'redis':>8}"
    f"{'p50 ms':>9}{'p99 ms':>9}{'alert p50 s':>13}{'p99 s':>8}{'logout s':>10}"
)


def render(found: Found) -> str:
    """Everything as text."""
    return "\n".join([*_steps(found), "", *sentences(found)])


def sentences(found: Found) -> Iterator[str]:
    """The goals, and which limit ended the run."""
    for goal in goals(found):
        yield f"{goal.word:6}  {goal.text}: {goal.measured}"
    yield _limit(found)
    if found.interrupted:
        yield "Interrupted: this is what was done before."


def _steps(found: Found) -> Iterator[str]:
    yield HEAD
    if found.zero:
        yield _without("0", found.zero)
    for step in found.steps:
        yield _line(step)
    if found.zero_again:
        yield _without("0 again", found.zero_again)


def _without(name: str, probe: Probe) -> str:
    return f"{name:>8}{'':50}{probe.p50:9.1f}{probe.p99:9.1f}"


def _line(step: Step) -> str:
    sizes = [step.bytes_per_stream.get(role) for role in ROLES]
    memory = [f"{size / 1024:.1f}" if size is not None else "-" for size in sizes]
    return (
        f"{step.streams:>8,}{step.connects_per_second:12,.0f}{memory[0]:>22}{memory[1]:>8}"
        f"{memory[2]:>8}{step.probe.p50:9.1f}{step.probe.p99:9.1f}{step.delivery_p50:13.2f}"
        f"{step.delivery_p99:8.2f}{step.logout_seconds:10.2f}"
    )


def _limit(found: Found) -> str:
    if found.stopped_by:
        return f"Stopped by {found.stopped_by}."
    text = f"No limit was met up to {max((s.streams for s in found.steps), default=0):,} streams."
    full = [
        f"{role} {used:,} of {most:,}" for role, (used, most) in found.fullest.items() if most > 1
    ]
    return text + (f" Open files of the fullest process: {', '.join(full)}." if full else "")
