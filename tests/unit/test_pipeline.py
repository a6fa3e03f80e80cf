"""What is asked for in one turn of the event loop leaves together, a busy turn's in a few writes."""

from __future__ import annotations

import asyncio

from app.sessions import Pipeline
from app.sessions.wire.calls import Call, Request, Script
from app.sessions.wire.pipeline import MOST_A_WRITE, Outbox

SCRIPT = Script("return 1", "0" * 40)


class Writes:
    """A way to Redis that answers nothing and keeps what it was given, write by write."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def send(self, calls: list[Call]) -> None:
        self.sizes.append(len(calls))

    def retire(self, reason: str) -> None:
        pass

    async def close(self) -> None:
        pass


async def writes_of(calls: int) -> list[int]:
    """The sizes of the writes by which so many calls of one turn leave: before it ends, and in all."""
    pipeline, link = Pipeline("redis://127.0.0.1", timeout_seconds=1), Writes()
    pipeline._plain = pipeline._acknowledged = Outbox(link)
    for _ in range(calls):
        pipeline.send(Request(SCRIPT, [], []))
    at_once = len(link.sizes)
    await asyncio.sleep(0)
    return [at_once, *link.sizes]


async def test_few_calls_leave_together() -> None:
    """Three calls wait for the end of the turn and leave in one write."""
    assert await writes_of(3) == [0, 3]


async def test_many_calls_do_not_wait() -> None:
    """Each sixteen leave at once, so that Redis works on them while the turn goes on; the rest at its end."""
    assert await writes_of(2 * MOST_A_WRITE + 3) == [2, MOST_A_WRITE, MOST_A_WRITE, 3]


async def test_full_write_leaves_no_empty_one() -> None:
    """Exactly sixteen are one write, and none comes after it."""
    assert await writes_of(MOST_A_WRITE) == [1, MOST_A_WRITE]
