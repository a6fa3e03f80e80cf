"""The ratios of `make bench`: of paired rounds, and judged only where the machine was quiet."""

from __future__ import annotations

import pytest

from lab.cost.measure import Outcome, instruction_notes
from lab.cost.ratios import Comparison, Sample, steady, table

ROUNDS = {
    "read": [Sample(90, 0.0012), Sample(40, 0.0012), Sample(98, 0.0009)],
    "bare": [Sample(100, 0.001), Sample(50, 0.001), Sample(100, 0.001)],
}


def test_ratios_are_of_paired_rounds() -> None:
    """Each round is compared with itself, so that a slow minute of the machine cancels out."""
    (row,) = table([Comparison("read / bare", "read", "bare")], ROUNDS)
    assert row == ("read / bare", "0.90 (0.80 to 0.98)", "0.83 (0.83 to 1.11)", "")


@pytest.mark.parametrize(("goal", "verdict"), [(0.9, "reached"), (0.91, "missed")])
def test_goals_are_judged(goal: float, verdict: str) -> None:
    """A goal is reached by the median of answers a second, and a missed one is called so."""
    (row,) = table([Comparison("read / bare", "read", "bare", goal)], ROUNDS)
    assert row[3] == f"at least {goal:.2f}: {verdict}"


@pytest.mark.parametrize(
    ("rates", "verdict"),
    [
        ([100, 99, 101], True),
        ([100, 100, 126], False),
        ([100, 100, 79], False),
        ([106, 106, 100], False),
    ],
)
def test_noise_is_noticed(rates: list[float], verdict: bool) -> None:
    """Times mean nothing when a handler measured twice differs by much, in the median or in a round."""
    assert steady([rate / 100 for rate in rates]) is verdict


def test_noise_is_not_judged() -> None:
    """On a busy machine no goal is called reached or missed, and the document gets what can be told."""
    (row,) = table([Comparison("read / bare", "read", "bare", 0.9)], ROUNDS, judge=False)
    assert row[3] == "at least 0.90: too noisy to say"
    told = {
        steady: Outcome([row], [row], "times", ["facts"], *steady).blocks()
        for steady in ((True, True), (False, True), (False, False))
    }
    assert all("0.90 (0.80 to 0.98)" in block for block in told[True, True].values())
    for block in told[False, True].values():
        assert "| - | 0.83 (0.83 to 1.11) |" in block
        assert "too busy for answers a second" in block
    assert told[False, False].keys() == {"bench"}  # what was measured of others before stays
    assert "0.83" not in told[False, False]["bench"]
    assert "facts" in told[False, False]["bench"]


def test_rounds_without_a_pair() -> None:
    """Rounds that cannot be paired are an error, not a shorter list."""
    with pytest.raises(ValueError, match="zip"):
        table([Comparison("", "read", "bare")], ROUNDS | {"read": ROUNDS["read"][:2]})


def test_instructions_are_compared() -> None:
    """Counted instructions are told as ratios, of the comparisons that were counted alone."""
    (note,) = instruction_notes({"read": 1000, "bare": 900, "cookie": 950})
    assert "the cookie alone 0.95;" in note
    assert "bare handler 0.90." in note
    assert "article" not in note
    assert instruction_notes({}) == []
