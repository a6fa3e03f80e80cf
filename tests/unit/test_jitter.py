"""When streams that were lost come back: a bounded number a second, however many there are."""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter

import pytest

from app.events.hub import Hub, reconnect
from app.events.jitter import LEAST_MS, STREAMS_A_SECOND, retry, spread_ms


def pause_ms(line: bytes) -> int:
    assert line.startswith(b"retry: ")
    assert line.endswith(b"\n")
    return int(line[7:])


def busiest_second(pauses: list[int]) -> int:
    """How many come back in the fullest whole second."""
    return max(Counter(pause // 1000 for pause in pauses).values())


@pytest.mark.parametrize("streams", [1, 400, 2_000, 9_000])
def test_the_return_is_spread(streams: int) -> None:
    """So many streams come back at STREAMS_A_SECOND and no faster, none before a second has passed."""
    pauses = [pause_ms(retry(streams)) for _ in range(streams)]
    assert min(pauses) >= LEAST_MS
    assert busiest_second(pauses) <= STREAMS_A_SECOND * 1.35  # chance: 5 sigma of so many
    if streams > 1000:
        assert busiest_second(pauses) > STREAMS_A_SECOND * 0.9


def test_a_fixed_pause_would_be_a_herd() -> None:
    """With the 1 to 3 s that suit a few hundred, 9,000 streams return at more than ten times that rate."""
    pauses = [pause_ms(retry(100)) for _ in range(9_000)]
    assert busiest_second(pauses) > 10 * STREAMS_A_SECOND


def test_a_drain_says_the_same_to_pages() -> None:
    """A worker that drains tells pages the time over which its streams come back."""
    assert reconnect(9_000).endswith(b'data: {"within_ms":60000}\n\n')
    assert spread_ms(0) == 2000


class Nobody:
    """In the place of Notices: tells nothing."""

    def subscribe(self, *_: object) -> None:
        pass


class Moving:
    """In the place of a stream: closes at once."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        hub.open.add(self)  # type: ignore[arg-type]

    def close(self, last: bytes) -> None:
        assert b"event: reconnect" in last
        self._hub.open.discard(self)  # type: ignore[arg-type]


async def test_streams_that_have_moved_are_not_kept() -> None:
    """A move goes on for up to a minute, and holds only those that it has still to move."""
    hub = Hub(Nobody(), {})  # type: ignore[arg-type]
    kept = weakref.WeakSet(Moving(hub) for _ in range(STREAMS_A_SECOND // 3))
    hub.move()
    steps = []
    async with asyncio.timeout(10):
        while hub.open:
            await asyncio.sleep(0.01)
            steps.append(len(hub.open))
            assert len(kept) <= len(hub.open) + 1  # the one that was last
    assert len(set(steps)) > 2  # in more than one go
