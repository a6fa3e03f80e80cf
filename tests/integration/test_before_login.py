"""Sessions that begin before a login, several applications on one Redis, and what a program is told."""

from __future__ import annotations

import asyncio

import pytest

from app.sessions import Event, Pipeline, RedisSessions
from app.sessions.identity import ref_of
from lab.testbed.servers import Place
from tests.integration.conftest import Engines
from tests.integration.loading import key_of, keys, load


async def test_nobodys_session(store: RedisSessions) -> None:
    """A session without a user keeps data, counts and ends as any other, and is on no user's list."""
    session_id = await store.create(None, {"cart": [1]})
    session = await load(store, session_id)
    assert session.anonymous
    assert session.user == ""
    session["cart"].append(2)
    assert await store.save(session)
    assert await store.increment(session, "n", operation="x") == 1
    assert (await load(store, session_id))["cart"] == [1, 2]
    assert await store.devices("") == []
    assert await store.end_others(session) == 0
    assert await store.destroy(session)
    assert await store.load(session_id) is None


async def test_reading_creates_nothing(store: RedisSessions, place: Place) -> None:
    """No session begins but by `create`: neither for no cookie nor for one that leads nowhere."""
    for session_id in (None, "", "A" * 40):
        assert await store.load(session_id) is None
    assert keys(place) == []
    await store.create(None)
    assert [key.partition(b":")[0] for key in keys(place)] == [b"session"]


async def test_a_cart_follows_its_visitor(engines: Engines, place: Place) -> None:
    """At a login what is allowed moves over from the session before it, which is dead; nothing else does."""
    here, there = engines(2)
    old = await here.create(None, {"cart": [1], "theme": "dark", "secret": 1})
    session = await load(here, old)
    new = await here.create(
        "ann", {"theme": "light"}, replacing=session, keep=("cart", "theme", "missing")
    )
    found = await load(there, new)
    assert (found.user, dict(found)) == ("ann", {"cart": [1], "theme": "light"})
    assert await there.load(old) is None
    assert session.ended
    assert key_of(old).encode() not in keys(place)


async def test_what_is_written_while_logging_in(engines: Engines) -> None:
    """What another request writes to the cart between load and login moves over too, or is refused."""
    here, there = engines(2)
    for _ in range(20):
        old = await here.create(None, {"cart": [1], "gone": 1})
        session, other = await load(here, old), await load(there, old)
        other["cart"] = [1, 2]
        del other["gone"]
        new, saved = await asyncio.gather(
            here.create("ann", replacing=session, keep=("cart", "gone")), there.save(other)
        )
        expected = {"cart": [1, 2]} if saved else {"cart": [1], "gone": 1}
        assert dict(await load(here, new)) == expected
    late = await load(here, await here.create(None, {"cart": [1]}))
    other = await load(there, await there.create("bob", {"cart": ["bob's"]}))
    new = await here.create("ann", replacing=other, keep=("cart",))
    assert dict(await load(here, new)) == {}
    assert not other.anonymous
    assert late.anonymous


async def test_many_visitors_are_spread(store: RedisSessions, place: Place) -> None:
    """Nobody's sessions do not share one hash slot, nor a cap."""
    ids = await asyncio.gather(*(store.create(None) for _ in range(30)))
    assert len({session_id[:4] for session_id in ids}) > 25
    for session_id in ids:
        assert (await load(store, session_id)).anonymous


async def test_prefixes_are_apart(place: Place) -> None:
    """Two applications with prefixes of their own on one Redis share no session, no list and no cap."""
    pipeline = Pipeline(place.url, timeout_seconds=5)
    one, two = (RedisSessions(pipeline, prefix=prefix) for prefix in ("", "shop:"))
    first = await one.create("ann")
    for _ in range(6):
        await two.create("ann")
    assert len(await one.devices("ann")) == 1
    assert len(await two.devices("ann")) == 5
    assert await two.load(first) is None
    session = await load(one, first)
    assert await one.increment(session, "n", operation="x") == 1
    assert await two.end_all("ann") == 5
    assert await one.load(first) is not None
    assert [key for key in keys(place) if key.startswith(b"shop:")] == []
    with pytest.raises(ValueError, match="prefix="):
        RedisSessions(pipeline, prefix="{x}")
    await pipeline.close()


async def test_events(place: Place) -> None:
    """A program is told of each session that it creates or ends, once, with the reason."""
    told: list[Event] = []
    pipeline = Pipeline(place.url, timeout_seconds=5)
    store = RedisSessions(pipeline, on_event=told.append)
    ids = [await store.create("ann") for _ in range(2)]
    refs = [(await load(store, session_id)).ref for session_id in ids]
    ids.append(await store.create("ann", replacing=await load(store, ids[0])))
    session = await load(store, ids[2])
    await store.end_others(session)
    await store.destroy(session)
    await store.destroy(session)
    nobody = await load(store, await store.create(None))
    await store.create("bob", replacing=nobody)
    await store.end_all("bob", reason="administrator")
    await pipeline.close()
    assert [(event.what, event.user, event.reason) for event in told] == [
        ("created", "ann", ""),
        ("created", "ann", ""),
        ("created", "ann", ""),
        ("ended", "ann", "login"),
        ("ended", "ann", "device"),
        ("ended", "ann", "logout"),
        ("created", "", ""),
        ("created", "bob", ""),
        ("ended", "", "login"),
        ("ended", "bob", "administrator"),
    ]
    assert [told[n].ref for n in (0, 1, 3, 4)] == [*refs, *refs]
    assert told[0].ref == ref_of(key_of(ids[0]).rpartition(":")[2])
