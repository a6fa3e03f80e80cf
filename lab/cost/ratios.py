"""Ratios of paired rounds, and whether they mean anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from lab.statistics import median_and_ends


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


def rates(this: Sequence[Sample], that: Sequence[Sample]) -> list[float]:
    """By answers a second, round by round."""
    return [one.rate / other.rate for one, other in zip(this, that, strict=True)]


def processor_times(this: Sequence[Sample], that: Sequence[Sample]) -> list[float]:
    """By what the worker's processor can answer, round by round; a busy machine changes it less."""
    return [other.processor / one.processor for one, other in zip(this, that, strict=True)]


def steady(ratios: Sequence[float]) -> bool:
    """Whether such ratios mean anything here, by those of a handler compared with itself."""
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
    return median_and_ends(rates(this, that)), median_and_ends(processor_times(this, that))


def _goal(one: Comparison, rounds: Rounds, judge: bool) -> str:
    """The goal, and whether the median of answers a second reached it."""
    if one.goal is None:
        return ""
    if not judge:
        return f"at least {one.goal:.2f}: too noisy to say"
    reached = median(rates(rounds[one.this], rounds[one.that])) >= one.goal
    return f"at least {one.goal:.2f}: {'reached' if reached else 'missed'}"
