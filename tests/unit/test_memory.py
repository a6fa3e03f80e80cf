"""When a worker gives memory back: after a crowd of streams has gone, and only then."""

from __future__ import annotations

import pytest

from app.memory import CROWD, Crowd

MANY = 4 * CROWD


@pytest.mark.parametrize(
    ("looks", "times"),
    [
        ([0, 0, 0], 0),
        ([MANY, MANY, MANY], 0),
        ([MANY, 0, 0, 0], 1),  # the first look after the fall cannot know that it is over
        ([MANY, MANY // 2, MANY // 4, 0, 0, 0], 1),
        ([MANY, MANY * 3 // 4, MANY * 3 // 4], 0),  # most are still there
        ([CROWD - 1, 0, 0], 0),
        ([MANY, 0, 0, MANY, 0, 0], 2),
        ([MANY, 9, 12, 5, 10], 1),  # a few always come and go
        ([MANY, 10, MANY, 10, MANY], 0),  # all of them reconnect, again and again
    ],
)
def test_a_crowd_has_gone_once(looks: list[int], times: int) -> None:
    """Memory is given back once after most streams have gone and the number stands still."""
    crowd = Crowd()
    given = 0
    for streams in looks:
        crowd.is_now(streams)
        given += crowd.has_gone()
    assert given == times


def test_a_short_crowd_is_noticed() -> None:
    """A crowd that came and went between two looks has left its memory behind, too."""
    crowd = Crowd()
    crowd.is_now(MANY)
    crowd.is_now(0)
    assert crowd.has_gone()
