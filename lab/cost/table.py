"""Ratios of paired rounds, as a table and as the README's block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

BEGIN, END = "<!-- written by make bench WRITE=1: begin -->", "<!-- end -->"


@dataclass(frozen=True)
class Sample:
    """One handler in one round: answers a second, and seconds of its worker's processor an answer."""

    rate: float
    processor: float


@dataclass(frozen=True)
class Comparison:
    """`this` is compared with `that`, round by round.  `goal` is the least ratio hoped for."""

    what: str
    this: str
    that: str
    goal: float | None = None


Rounds = Mapping[str, Sequence[Sample]]
HEADER = ("compared", "answers a second", "by the worker's processor time", "goal")


def steady(this: Sequence[Sample], that: Sequence[Sample]) -> bool:
    """Whether times mean anything here, by what a handler compared with itself gave."""
    ratios = [one.rate / other.rate for one, other in zip(this, that, strict=True)]
    return abs(median(ratios) - 1) <= 0.05 and min(ratios) >= 0.8 and max(ratios) <= 1.25


def table(
    comparisons: Sequence[Comparison], rounds: Rounds, *, judge: bool = True
) -> list[tuple[str, ...]]:
    """A row a comparison: medians of the rounds' ratios, with the lowest and the highest.

    Without `judge` no goal is called reached or missed.
    """
    return [
        (one.what, *_ratios(rounds[one.this], rounds[one.that]), _goal(one, rounds, judge))
        for one in comparisons
    ]


def _ratios(this: Sequence[Sample], that: Sequence[Sample]) -> tuple[str, str]:
    pairs = list(zip(this, that, strict=True))
    rates = [one.rate / other.rate for one, other in pairs]
    costs = [other.processor / one.processor for one, other in pairs]
    return _spread(rates), _spread(costs)


def _spread(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _goal(one: Comparison, rounds: Rounds, judge: bool) -> str:
    """The goal, and whether the median of answers a second reached it."""
    if one.goal is None:
        return ""
    if not judge:
        return f"at least {one.goal:.2f}: too noisy to say"
    pairs = zip(rounds[one.this], rounds[one.that], strict=True)
    reached = median(this.rate / that.rate for this, that in pairs) >= one.goal
    return f"at least {one.goal:.2f}: {'reached' if reached else 'missed'}"


def as_text(rows: Sequence[tuple[str, ...]]) -> str:
    """For a terminal: columns under each other."""
    rows = [HEADER, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def as_markdown(rows: Sequence[tuple[str, ...]]) -> str:
    lines = [HEADER, ("---",) * len(HEADER), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_block(file: Path, block: str) -> None:
    """Replace what stands between the markers.  Raises ValueError where there are none."""
    text = file.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{file.name} has no place for the figures: {BEGIN} ... {END}")
    file.write_text(f"{before}{BEGIN}\n{block}\n{END}{after}")
