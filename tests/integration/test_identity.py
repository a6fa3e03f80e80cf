"""Ids: new at every login, unknown to Redis, never adopted, and few for each user."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from app.sessions import RedisSessions
from app.sessions.identity import new_id
from lab.testbed.servers import Place
from tests.integration.conftest import Engines
from tests.integration.loading import everything, keys, load


async def test_new_id_at_login(store: RedisSessions) -> None:
    """A login gives a new id, the old one is dead at once, and only what is on the list moves over."""
    old = await store.create("ann", {"theme": "dark", "cart": [1]})
    new = await store.create("ann", replacing=await load(store, old), keep=("theme", "missing"))
    assert new != old
    assert await store.load(old) is None
    assert dict(await load(store, new)) == {"theme": "dark"}
    assert len(await store.devices("ann")) == 1


async def test_all_data_moves(engines: Engines) -> None:
    """A login that keeps everything takes over what others wrote until then, of the same user's session only."""
    here, there = engines(2)
    old = await here.create("ann", {"theme": "dark", "cart": [1]})
    stale, other = await load(here, old), await load(there, old)
    other["late"] = other["*"] = 1
    await there.save(other)
    new = await load(here, await here.create("ann", {"cart": []}, replacing=stale, keep=None))
    assert dict(new) == {"theme": "dark", "cart": [], "late": 1, "*": 1}
    assert await here.load(old) is None
    foreign = await load(here, await here.create("bob", replacing=new, keep=None))
    assert dict(foreign) == {}
    assert dict(await load(here, await here.create("bob", keep=None))) == {}


async def test_nothing_of_another_user_moves(store: RedisSessions) -> None:
    """A login over somebody else's session ends that one and takes nothing from it."""
    old = await store.create("ann", {"theme": "dark"})
    new = await store.create("bob", replacing=await load(store, old), keep=("theme",))
    session = await load(store, new)
    assert (session.user, dict(session)) == ("bob", {})
    assert await store.load(old) is None
    assert await store.devices("ann") == []


async def test_empty_session_is_replaced(store: RedisSessions) -> None:
    """A session that holds no data yet is replaced at login like any other."""
    old = await store.create("ann")
    await store.create("ann", replacing=await load(store, old))
    assert await store.load(old) is None
    assert len(await store.devices("ann")) == 1


async def test_ended_session_is_no_source(store: RedisSessions) -> None:
    """A login over a session that ended meanwhile takes nothing from it and revives nothing."""
    old = await store.create("ann", {"theme": "dark"})
    stale = await load(store, old)
    await store.end_all("ann")
    new = await store.create("ann", replacing=stale, keep=("theme",))
    assert dict(await load(store, new)) == {}
    assert len(await store.devices("ann")) == 1


async def test_login_while_it_is_renewed(engines: Engines) -> None:
    """A login over an id that another request has just renewed ends the renewed session too."""
    here, there = engines(2, renew_seconds=0.005, renew_grace_seconds=0.004)
    old = await here.create("ann", {"theme": "dark"})
    stale = await load(here, old)
    await asyncio.sleep(0.01)
    renewed = await there.renew(await load(there, old))
    assert renewed
    new = await here.create("ann", replacing=stale, keep=("theme",))
    assert await here.load(old) is None
    assert await there.load(renewed) is None
    assert dict(await load(here, new)) == {"theme": "dark"}
    assert len(await here.devices("ann")) == 1


async def test_parallel_logins_over_one_session(engines: Engines) -> None:
    """Two logins over the same old session both succeed, and the old one is dead."""
    here, there = engines(2)
    old = await here.create("ann", {"theme": "dark"})
    stale = [await load(engine, old) for engine in (here, there)]
    new = await asyncio.gather(
        *(
            engine.create("ann", replacing=session, keep=("theme",))
            for engine, session in zip((here, there), stale, strict=True)
        )
    )
    assert await here.load(old) is None
    assert [await here.load(session_id) is not None for session_id in new] == [True, True]


@pytest.mark.parametrize("data", [None, {"n": 1}])
async def test_unknown_ids_are_not_adopted(
    store: RedisSessions, place: Place, data: dict[str, int] | None
) -> None:
    """A well-formed id that leads nowhere stays unknown, and asking leaves nothing in Redis."""
    await store.create("ann", data)
    before = everything(place)
    for session_id in (new_id("ann"), "A" * 40, secrets.token_urlsafe(30)):
        assert await store.load(session_id) is None
    assert everything(place) == before


@pytest.mark.parametrize(
    "text", ["", "x", "A" * 39, "A" * 41, "ä" * 40, "A" * 39 + "\n", "{}" * 20]
)
async def test_malformed_ids_cost_nothing(engines: Engines, text: str) -> None:
    """What has not the form of an id is no session, and Redis is not asked."""
    (store,) = engines(1)
    assert await store.load(text) is None
    assert store.counters.loads == 0


async def test_redis_never_sees_an_id(engines: Engines, place: Place) -> None:
    """In all keys and values of Redis no id is found, and none can be made of what is there."""
    (store,) = engines(1, renew_seconds=0.005, renew_grace_seconds=0.004)
    ids = [await store.create(user, {"a": 1}, agent="x") for user in ("ann", "ann", "bob")]
    await asyncio.sleep(0.01)
    session = await load(store, ids[0])
    await store.increment(session, "n", operation="op")
    renewed = await store.renew(session)
    assert renewed
    held = everything(place)
    assert b"session:" in held
    for session_id in (*ids, renewed):
        assert session_id.encode() not in held
        assert session_id[4:].encode() not in held


async def test_a_session_holds_no_id(store: RedisSessions) -> None:
    """Neither the session object nor what is printed of it carries the id."""
    session_id = await store.create("ann")
    session = await load(store, session_id)
    assert session_id[4:] not in repr([getattr(session, name) for name in session.__slots__])
    assert session_id[4:] not in repr(session)


async def test_cap_ends_the_oldest(engines: Engines) -> None:
    """With a cap of three, of five logins the two oldest are over, used or not, and counted."""
    here, there = engines(2, max_per_user=3)
    ids = []
    for number in range(5):
        ids.append(await (here, there)[number % 2].create("ann"))
        await here.load(ids[0])
        await asyncio.sleep(0.003)
    alive = [await here.load(session_id) is not None for session_id in ids]
    assert alive == [False, False, True, True, True]
    assert here.counters.evicted + there.counters.evicted == 2
    assert len(await here.devices("ann")) == 3


async def test_cap_counts_only_the_living(engines: Engines, place: Place) -> None:
    """Sessions that have expired do not push living ones out."""
    (store,) = engines(1, max_per_user=2)
    living = await store.create("ann")
    await asyncio.sleep(0.003)
    await store.create("ann")
    gone = keys(place, "session:*")
    session = await load(store, living)
    for key in gone:
        if session.digest.encode() not in key:
            place.admin.delete(key)
    await store.create("ann")
    assert await store.load(living) is not None
    assert store.counters.evicted == 0


async def test_parallel_logins_keep_the_cap(engines: Engines) -> None:
    """Twenty logins of one user at once leave exactly as many sessions as the cap allows."""
    four = engines(4, max_per_user=3)
    ids = await asyncio.gather(*(four[n % 4].create("ann") for n in range(20)))
    alive = [await four[0].load(session_id) is not None for session_id in ids]
    assert sum(alive) == 3
    assert len(await four[0].devices("ann")) == 3


async def test_users_do_not_touch_each_other(engines: Engines) -> None:
    """Names that look alike, or like keys, are different users."""
    (store,) = engines(1, max_per_user=1)
    names = ["ann", "Ann", "ann ", "{ann}", "ann}:x", "*", "", "李雷", "a" * 64]
    ids = {name: await store.create(name, {"name": name}) for name in names}
    for name, session_id in ids.items():
        session = await load(store, session_id)
        assert (session.user, session["name"]) == (name, name)
        assert len(await store.devices(name)) == 1
