"""Ratios of paired rounds, and whether they mean anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median


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
