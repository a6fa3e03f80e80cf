"""Timed renewal: a new id for a session in use, with nothing lost and nobody logged out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.sessions import RedisSessions
from lab.testbed.servers import Place
from tests.integration.loading import key_of, keys, load

Engines = Callable[..., list[RedisSessions]]
SOON = {"renew_seconds": 0.05, "renew_grace_seconds": 0.4}


async def test_off_by_default(store: RedisSessions) -> None:
    """Nothing is ever due for renewal unless a time is set."""
    session = await load(store, await store.create("ann"))
    await asyncio.sleep(0.01)
    assert not session.renewal_due


async def test_due_after_its_time(engines: Engines) -> None:
    """A session is due once its id is old enough, not before, and not again right after."""
    (store,) = engines(1, **SOON)
    session_id = await store.create("ann")
    young = await load(store, session_id)
    assert not young.renewal_due
    assert await store.renew(young) is None
    await asyncio.sleep(0.06)
    session = await load(store, session_id)
    assert session.renewal_due
    new = await store.renew(session)
    assert new
    assert new != session_id
    assert not session.renewal_due
    assert not (await load(store, new)).renewal_due


async def test_parallel_requests_make_one_id(engines: Engines, place: Place) -> None:
    """Of twenty parallel requests on the old id all succeed and exactly one gets a new id."""
    four = engines(4, **SOON)
    old = await four[0].create("ann", {"n": 0})
    await asyncio.sleep(0.06)

    async def request(number: int) -> str | None:
        engine = four[number % 4]
        session = await load(engine, old)
        new = await engine.renew(session) if session.renewal_due else None
        session[f"k{number}"] = number
        assert await engine.save(session)
        assert await engine.increment(session, "n", operation=str(number)) is not None
        return new

    new = [new for new in await asyncio.gather(*map(request, range(20))) if new]
    assert len(new) == 1
    session = await load(four[0], new[0])
    assert dict(session) == {"n": 20} | {f"k{n}": n for n in range(20)}
    assert len(await four[0].devices("ann")) == 1
    assert sum(engine.counters.renewals for engine in four) == 1
    assert len(keys(place, "session:*")) == 2


async def test_writes_through_the_old_id(engines: Engines) -> None:
    """Whatever a request that came with the old id writes is found under the new one."""
    here, there = engines(2, **SOON)
    old = await here.create("ann", {"flash": "hello", "n": 1})
    late = await load(there, old)
    await asyncio.sleep(0.06)
    new = await here.renew(await load(here, old))
    assert new
    late["a"] = 1
    assert await there.save(late)
    assert await there.increment(late, "n") == 2
    assert await there.pop(late, "flash") == "hello"
    assert await there.update(late, lambda s: s.update(b=2))
    assert dict(await load(here, new)) == {"n": 2, "a": 1, "b": 2}
    assert dict(await load(here, old)) == {"n": 2, "a": 1, "b": 2}
    assert there.counters.forwarded > 0


async def test_operations_move_along(engines: Engines) -> None:
    """An operation counted before the renewal is not counted again after it, through either id."""
    here, there = engines(2, **SOON)
    old = await here.create("ann")
    session = await load(here, old)
    assert await here.increment(session, "n", operation="x") == 1
    await asyncio.sleep(0.06)
    new = await here.renew(session)
    assert new
    assert await there.increment(await load(there, old), "n", operation="x") == 1
    assert await there.increment(await load(there, new), "n", operation="x") == 1
    assert (await load(here, new))["n"] == 1


async def test_dead_after_the_grace(engines: Engines, place: Place) -> None:
    """After the grace the old id leads nowhere, the new one lives, and no pointer is left."""
    (store,) = engines(1, renew_seconds=0.05, renew_grace_seconds=0.1)
    old = await store.create("ann")
    await asyncio.sleep(0.06)
    new = await store.renew(await load(store, old))
    assert new
    assert await store.load(old) is not None
    await asyncio.sleep(0.15)
    assert await store.load(old) is None
    assert await store.load(new) is not None
    assert len(keys(place, "session:*")) == 1


async def test_using_the_old_id_does_not_prolong_it(engines: Engines, place: Place) -> None:
    """Requests on the old id do not keep it alive beyond the grace, nor renew it a second time."""
    (store,) = engines(1, touch_seconds=0, renew_seconds=0.03, renew_grace_seconds=0.2)
    old = await store.create("ann")
    await asyncio.sleep(0.04)
    await store.renew(await load(store, old))
    left = place.admin.pttl(key_of(old))
    await asyncio.sleep(0.05)
    session = await load(store, old)
    assert not session.renewal_due
    session["a"] = 1
    await store.save(session)
    assert 0 < place.admin.pttl(key_of(old)) < left


async def test_counted_once_in_the_index(engines: Engines, place: Place) -> None:
    """A renewed session is one session of its user: the old id takes no place under the cap."""
    (store,) = engines(1, max_per_user=2, **SOON)
    session_id = await store.create("ann")
    await asyncio.sleep(0.06)
    new = await store.renew(await load(store, session_id))
    assert new
    assert place.admin.zcard(keys(place, "user:*")[0]) == 1
    await store.create("ann")
    assert await store.load(new) is not None
    assert store.counters.evicted == 0


async def test_the_deadline_stays(engines: Engines) -> None:
    """Renewal lengthens neither the absolute life nor the age of the login."""
    (store,) = engines(1, **SOON)
    session_id = await store.create("ann")
    before = (await load(store, session_id)).times
    await asyncio.sleep(0.06)
    new = await store.renew(await load(store, session_id))
    assert new
    after = (await load(store, new)).times
    assert (after.created, after.absolute_deadline) == (before.created, before.absolute_deadline)


async def test_ended_through_the_old_id(engines: Engines, place: Place) -> None:
    """A logout that came with the old id ends the renewed session, and the reverse."""
    here, there = engines(2, **SOON)
    for ending_id in (0, 1):
        old = await here.create("ann")
        stale = await load(there, old)
        await asyncio.sleep(0.06)
        new = await here.renew(await load(here, old))
        assert new
        assert await there.destroy((stale, await load(there, new))[ending_id])
        assert await here.load(old) is None
        assert await here.load(new) is None


async def test_end_all_catches_a_renewed_session(engines: Engines) -> None:
    """Ending all sessions in parallel with renewals leaves none alive, in 20 rounds."""
    here, there = engines(2, renew_seconds=0.001, renew_grace_seconds=5)
    for number in range(20):
        user = f"user-{number}"
        old = [await here.create(user) for _ in range(3)]
        sessions = [await load(here, session_id) for session_id in old]
        await asyncio.sleep(0.003)
        *renewed, _ = await asyncio.gather(*map(here.renew, sessions), there.end_all(user))
        for session_id in (*old, *filter(None, renewed)):
            assert await there.load(session_id) is None
        assert await there.devices(user) == []
