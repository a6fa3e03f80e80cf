"""A caller who gives up harms nobody: not the connection, and not whoever asked at the same time."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from app.sessions import NotAnInteger, RedisSessions
from lab.testbed.servers import Place
from tests.integration.conftest import Engines
from tests.integration.loading import load


async def test_cancelled_calls(engines: Engines, place: Place) -> None:
    """With 300 calls cancelled at random moments, each other call gets its own answer, always."""
    (store,) = engines(1)
    users = [f"user-{n}" for n in range(30)]
    ids = {user: await store.create(user, {"me": user}) for user in users}
    before = _connections(place)
    chance = random.Random(7)
    cancelled = 0
    while cancelled < 300:
        calls = {user: asyncio.ensure_future(store.load(ids[user])) for user in users}
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        for user in chance.sample(users, 12):
            cancelled += calls.pop(user).cancel()
        sessions = await asyncio.gather(*calls.values())
        assert [session and session["me"] for session in sessions] == list(calls)
    assert _connections(place) <= before
    assert (await load(store, ids["user-0"]))["me"] == "user-0"


async def test_cancelled_increments(engines: Engines) -> None:
    """A cancelled increment happens once or not at all, and the others keep their order."""
    (store,) = engines(1)
    session_id = await store.create("ann")
    session = await load(store, session_id)
    kept = 0
    for _ in range(30):
        calls = [asyncio.ensure_future(store.increment(session, "n")) for _ in range(5)]
        await asyncio.sleep(0)
        calls[2].cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        numbers = [answer for answer in answers if isinstance(answer, int)]
        assert numbers == sorted(set(numbers))
        kept += len(numbers)
    assert kept <= (await load(store, session_id))["n"] <= 150


async def test_cancelled_while_connecting(engines: Engines) -> None:
    """Callers that give up before the connection stands leave it to the others."""
    (store,) = engines(1)
    calls = [asyncio.ensure_future(store.devices("ann")) for _ in range(10)]
    await asyncio.sleep(0)
    for call in calls[:5]:
        call.cancel()
    assert await asyncio.gather(*calls[5:]) == [[]] * 5


@pytest.mark.parametrize("by", [1.5, None, "1", object(), 2**70])
async def test_a_call_that_cannot_be_sent(store: RedisSessions, by: Any) -> None:
    """A wrong argument fails that call alone; calls of the same moment are answered."""
    session = await load(store, await store.create("ann", {"n": 1}))
    wrong = asyncio.ensure_future(store.increment(session, "n", by))
    right = [asyncio.ensure_future(store.devices("ann")) for _ in range(3)]
    async with asyncio.timeout(2):
        with pytest.raises(NotAnInteger):
            await wrong
        assert [len(devices) for devices in await asyncio.gather(*right)] == [1, 1, 1]


async def test_a_header_that_is_no_text(store: RedisSessions) -> None:
    """A browser's name that is no valid text is kept as far as it is one."""
    await store.create("ann", agent="bad \ud800 agent", address="\udfff")
    (device,) = await store.devices("ann")
    assert (device.agent, device.address) == ("bad ? agent", "?")


def _connections(place: Place) -> int:
    return sum(int(node.admin.info("clients")["connected_clients"]) for node in place.nodes)
