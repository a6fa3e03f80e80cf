"""Statistics of the experiments, each defined once; percentiles are those of loadtest/verdict/latency.py."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import median

RESAMPLES = 1000
CONFIDENCE = 0.99
Sample = tuple[float, int]  # a sum, and of how many


def median_and_ends(values: Sequence[float]) -> str:
    """The median, with the lowest and the highest."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def ratio_of_means(pairs: Sequence[tuple[Sample, Sample]]) -> float:
    """The mean of all first samples together by the mean of all second ones."""
    ours = sum(one[0] for one, _ in pairs) / sum(one[1] for one, _ in pairs)
    base = sum(two[0] for _, two in pairs) / sum(two[1] for _, two in pairs)
    return ours / base


def ratio_interval(pairs: Sequence[tuple[Sample, Sample]]) -> tuple[float, float, float]:
    """That ratio and the ends of its CONFIDENCE interval, by resampling the pairs (bootstrap).

    The same pairs give the same interval.
    """
    rng = random.Random("blocks")
    drawn = sorted(ratio_of_means(rng.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES))
    cut = int(RESAMPLES * (1 - CONFIDENCE) / 2)
    return ratio_of_means(pairs), drawn[cut], drawn[-1 - cut]
