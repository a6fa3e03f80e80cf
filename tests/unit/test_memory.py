"""When a worker gives memory back: after a crowd of streams has gone, and only then."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from contextlib import ExitStack

import pytest
import uvloop

from app.memory import CROWD, Crowd, give_back

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


def table_bytes() -> int:
    """What the event loop's own tables take."""
    held = gc.get_referents(asyncio.get_running_loop())
    return sum(sys.getsizeof(table) for table in held if isinstance(table, dict | set))


async def watch_many(sockets: ExitStack) -> None:
    """A crowd comes and goes, and one connection of it stays."""
    loop = asyncio.get_running_loop()
    before = table_bytes()
    pairs = [socket.socketpair() for _ in range(MANY)]
    for pair in pairs:
        for end in pair:
            sockets.enter_context(end)
    heard = asyncio.Event()
    stays, *rest = pairs
    for ours, _ in pairs:
        loop.add_reader(ours.fileno(), heard.set)
    for ours, _ in rest:
        loop.remove_reader(ours.fileno())
    assert table_bytes() > before + 20_000

    await give_back(())

    assert table_bytes() < before + 5_000
    stays[1].send(b"x")
    await asyncio.wait_for(heard.wait(), 5)
    loop.remove_reader(stays[0].fileno())


def test_the_event_loops_tables_shrink() -> None:
    """The loop keeps no room for connections that have gone, and still hears the one that stays."""
    with ExitStack() as sockets:
        uvloop.run(watch_many(sockets))
