"""The race tests can fail: two common ways to keep sessions do fail them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis

from app.sessions import RedisSessions, Session
from lab.testbed.servers import Place
from tests.integration import races
from tests.integration.doubles import ArticleStore, DirtyFlagStore
from tests.integration.loading import load

Doubles = list[ArticleStore]


@pytest.fixture(params=[ArticleStore, DirtyFlagStore])
async def doubles(request: pytest.FixtureRequest, shared_single: Place) -> AsyncIterator[Doubles]:
    connections = [Redis(port=shared_single.nodes[0].port) for _ in range(4)]
    yield [request.param(connection) for connection in connections]
    for connection in connections:
        await connection.aclose()


async def test_blobs_lose_updates(doubles: Doubles) -> None:
    """A store that writes sessions as a whole loses most of twenty parallel writers' keys."""
    lost = await races.lost_updates(doubles, writers=20, rounds=5)
    assert lost > 20


async def test_blobs_revive(doubles: Doubles) -> None:
    """A store that writes without looking revives a session that was logged out, every time."""
    assert await races.revived_by_writers(doubles, rounds=10) == 10


async def test_blobs_undo_deletes(doubles: Doubles) -> None:
    """A store that writes sessions as a whole brings deleted keys back."""
    assert await races.undone_deletes(doubles, rounds=10) == 10


async def test_writing_back_what_was_read_revives(shared_single: Place) -> None:
    """A store that writes on each read revives logged-out sessions although nobody changed anything."""
    connections = [Redis(port=shared_single.nodes[0].port) for _ in range(2)]
    stores = [ArticleStore(connection) for connection in connections]
    revived = await races.undone_by_readers(stores, rounds=60)
    for connection in connections:
        await connection.aclose()
    assert revived > 0


async def test_a_version_of_ones_own_hides_an_update(
    engines: Callable[..., list[RedisSessions]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that compares with the version it wrote last, not with that of its data, loses an update."""
    monkeypatch.setattr(
        Session, "basis", property(lambda session: session.version, lambda session, _: None)
    )
    here, there = engines(2)
    session_id = await here.create("ann", {"n": 1})
    session, other = await load(here, session_id), await load(there, session_id)
    other["n"] = 10
    await there.save(other)
    await here.increment(session, "count")
    assert await here.update(session, lambda s: s.update(n=s["n"] + 1))
    assert (await load(here, session_id))["n"] == 2
