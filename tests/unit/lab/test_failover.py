"""The proof of failovers: what it counts as lost, and that it can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.failover.cases import Case, Moments, VoteFailed, votes_of
from lab.failover.prove import CONTROL, Row, judge
from lab.failover.traffic import Loss, lost_writes
from lab.testbed.replicated import Sentinel
from loadtest.check.op import Kind, Op, Outcome

CASE = Case("the master is killed", lambda: Moments(0, 0), 4.0)
NOTHING = Loss(3.5, 0.4, 0, 0, 0, 0)
KEPT = Row(CASE, CONTROL, replace(NOTHING, after_promotion=3.0))


def ops(*seen: tuple[Kind, int | None]) -> list[Op]:
    """One session's requests, each answered before the next; without a value it may have happened."""
    return [
        Op(n, kind, "s", "ann", invoked=2 * n, returned=2 * n + 1, value=value,
           outcome=Outcome.UNKNOWN if value is None else Outcome.OK)
        for n, (kind, value) in enumerate(seen)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "lost"),
    [
        ([(Kind.VISIT, 1), (Kind.READ, 1), (Kind.VISIT, 2)], 0),
        ([(Kind.VISIT, 1), (Kind.VISIT, None), (Kind.VISIT, 3)], 0),
        ([(Kind.VISIT, 1), (Kind.VISIT, 2), (Kind.READ, 0)], 2),
        ([(Kind.VISIT, 1), (Kind.VISIT, 2), (Kind.VISIT, 2), (Kind.READ, 2)], 1),
    ],
)
def test_lost_writes(seen: list[tuple[Kind, int | None]], lost: int) -> None:
    """A raise is lost when a later answer shows a count below it, or another raise is given its number."""
    assert lost_writes(ops(*seen)) == lost


def test_no_sentinel_elected(tmp_path: Path) -> None:
    """A wait that ends because the Sentinels elected nobody is told from one that ends for another reason."""
    sentinel = Sentinel(tmp_path)
    sentinel.log_path.write_text("+try-failover\n")
    with pytest.raises(AssertionError, match="no master"), votes_of([sentinel]):
        raise AssertionError("no master")
    sentinel.log_path.write_text("+try-failover\n-failover-abort-not-elected\n")
    with pytest.raises(VoteFailed), votes_of([sentinel]):
        raise AssertionError("no master")


def test_goals() -> None:
    """Within the goals is passed, as long as the control is not."""
    assert judge([Row(CASE, "0", NOTHING), Row(CASE, "1", NOTHING), KEPT]) == []
    assert judge([Row(CASE, "0", NOTHING)]) != []
    assert judge([Row(CASE, "0", NOTHING), Row(CASE, CONTROL, NOTHING)]) != []


@pytest.mark.parametrize(
    ("setting", "loss", "named"),
    [
        ("0", replace(NOTHING, without_service=4.2), "4.2 s without service"),
        ("0", replace(NOTHING, after_promotion=1.2), "1.2 s after the promotion"),
        ("0", replace(NOTHING, wrong_user=1), "1 answers of another user"),
        ("1", replace(NOTHING, lost_writes=2), "2 acknowledged writes lost"),
        ("1", replace(NOTHING, logged_out=3), "3 sessions logged out"),
        ("1", replace(NOTHING, revived=1), "1 logouts revived"),
    ],
)
def test_missed_goal(setting: str, loss: Loss, named: str) -> None:
    """Each goal that is missed is named."""
    (problem,) = judge([Row(CASE, setting, loss), KEPT])
    assert named in problem


def test_others_are_served() -> None:
    """A failed read of a session whose primary lived is a problem."""
    (problem,) = judge([Row(CASE, "0", NOTHING, others_failed=1), KEPT])
    assert "primary lived" in problem


def test_setting_0_may_lose() -> None:
    """Without acknowledgement a failover may lose writes, and that is no problem of this run."""
    assert judge([Row(CASE, "0", replace(NOTHING, lost_writes=9, revived=1)), KEPT]) == []


def test_patience() -> None:
    """Patience is for times alone, and not for the control's."""
    slow = replace(NOTHING, without_service=4.2, after_promotion=1.2)
    assert judge([Row(CASE, "0", slow), KEPT], patience=3) == []
    assert judge([Row(CASE, "1", replace(slow, revived=1)), KEPT], patience=3) != []
    assert judge([Row(CASE, "0", NOTHING), Row(CASE, CONTROL, NOTHING)], patience=3) != []
