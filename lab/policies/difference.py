"""Whether a policy differs from round robin by more than round robin differs from itself.

All policies get the same arrivals, so their half-second blocks are compared in pairs: the interval
of a ratio comes from resampling the pairs. A difference is called one only when the interval leaves
out 1, the ratio exceeds the noise of the A/A pair, the means are some milliseconds apart, and in
every round the policy is at least a tenth away from both rows of round robin. The last condition is
what keeps a few short rounds from calling chance a difference: two rows that happen to agree say
little about a third.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lab.policies.cells import Block, Cell
from lab.statistics import Sample, ratio_interval, ratio_of_means

LEAST_RATIO = 1.1  # a smaller effect is not worth a word, however certain
LEAST_MS = 3.0  # nor is this: a shared core's scheduling is as coarse


class Word(StrEnum):
    """What is said of a cell against round robin."""

    FASTER = "faster"
    SLOWER = "slower"
    NONE = "none"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean latency by round robin's; `noise` is the ratio that chance alone reaches."""

    word: Word
    ratio: float
    low: float
    high: float
    noise: float


NOTHING = Difference(Word.INVALID, math.nan, math.nan, math.nan, math.nan)


def noise_of(one: Cell, again: Cell) -> float:
    """How far apart the same policy came out twice, its interval included; never below LEAST_RATIO."""
    away = [abs(math.log(value)) for value in compare_blocks(one.blocks, again.blocks)]
    return max(LEAST_RATIO, math.exp(max(away)))


def compare(cell: Cell, base: Cell, again: Cell, noise: float) -> Difference:
    """The cell against round robin, given its second row and the noise between the two."""
    if cell.invalid or base.invalid or again.invalid:
        return NOTHING
    ratio, low, high = compare_blocks(cell.blocks, base.blocks)
    rounds = [*by_round(cell.blocks, base.blocks), *by_round(cell.blocks, again.blocks)]
    word = Word.NONE
    if min(abs(cell.mean - row.mean) for row in (base, again)) < LEAST_MS:
        pass
    elif ratio > noise and low > 1 and min(rounds) > LEAST_RATIO:
        word = Word.SLOWER
    elif ratio < 1 / noise and high < 1 and max(rounds) < 1 / LEAST_RATIO:
        word = Word.FASTER
    return Difference(word, ratio, low, high, noise)


def compare_blocks(ours: Sequence[Block], base: Sequence[Block]) -> tuple[float, float, float]:
    """The ratio of the means, and the ends of its interval."""
    return ratio_interval([pair for _, pair in _paired(ours, base)])


def by_round(ours: Sequence[Block], base: Sequence[Block]) -> list[float]:
    """The ratio in each round alone."""
    pairs = _paired(ours, base)
    rounds = sorted({block.round for block in base})
    return [ratio_of_means([pair for number, pair in pairs if number == one]) for one in rounds]


def _paired(
    ours: Sequence[Block], base: Sequence[Block]
) -> list[tuple[int, tuple[Sample, Sample]]]:
    """Blocks of the same half second, by round."""
    return [
        (two.round, ((one.total_ms, one.count), (two.total_ms, two.count)))
        for one, two in zip(ours, base, strict=True)
    ]
