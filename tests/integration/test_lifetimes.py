"""Two deadlines, both kept by Redis with Redis's clock."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.sessions import RedisSessions
from lab.testbed.servers import Place
from tests.integration.conftest import Engines
from tests.integration.loading import key_of, keys, load


def ttl(place: Place, session_id: str) -> float:
    """Seconds until Redis itself removes the session."""
    return float(place.admin.pttl(key_of(session_id))) / 1000


async def test_unused_ends(engines: Engines, place: Place) -> None:
    """A session that is not used for the idle timeout is gone, from Redis too."""
    (store,) = engines(1, idle_seconds=0.2)
    session_id = await store.create("ann")
    await asyncio.sleep(0.3)
    assert keys(place, "session:*") == []
    assert await store.load(session_id) is None


async def test_used_anywhere_lives_everywhere(engines: Engines) -> None:
    """Activity on one worker keeps the session alive for another, well past the idle timeout."""
    here, there = engines(2, idle_seconds=0.3)
    session_id = await here.create("ann")
    for _ in range(6):
        await asyncio.sleep(0.1)
        await load(there, session_id)
    await load(here, session_id)


async def test_absolute_end(engines: Engines, place: Place) -> None:
    """A session in constant use is over at its absolute deadline."""
    (store,) = engines(1, idle_seconds=5, absolute_seconds=0.4)
    session_id = await store.create("ann")
    alive = 0
    for _ in range(12):
        alive += await store.load(session_id) is not None
        await asyncio.sleep(0.05)
    assert 4 <= alive <= 8
    assert keys(place) == []


async def test_ttl_stays_below_the_deadline(engines: Engines, place: Place) -> None:
    """However often it is touched, Redis's TTL never passes the absolute deadline."""
    (store,) = engines(1, idle_seconds=60, absolute_seconds=30, touch_seconds=0)
    session_id = await store.create("ann")
    for _ in range(5):
        session = await load(store, session_id)
        await store.touch(session)
        deadline = int(place.admin.hget(key_of(session_id), "deadline"))
        assert place.admin.pexpiretime(key_of(session_id)) == deadline
        assert session.times.idle_deadline == session.times.absolute_deadline == deadline / 1000


async def test_redis_keeps_the_deadline(engines: Engines, place: Place) -> None:
    """A session past its deadline is refused and removed even where its TTL was lost."""
    (store,) = engines(1, absolute_seconds=0.1)
    session_id = await store.create("ann", {"n": 1})
    session = await load(store, session_id)
    place.admin.persist(key_of(session_id))
    await asyncio.sleep(0.15)
    session["n"] = 2
    assert not await store.save(session)
    assert await store.increment(session, "n") is None
    assert await store.pop(session, "n") is None
    assert await store.load(session_id) is None
    assert keys(place, "session:*") == []


async def test_touch_is_throttled(engines: Engines, place: Place) -> None:
    """Loading moves the idle deadline at most once per throttle, and a tenth of a short timeout caps that."""
    (store,) = engines(1, idle_seconds=60, touch_seconds=0.2)
    session_id = await store.create("ann")

    def touched() -> float:
        return int(place.admin.hget(key_of(session_id), "touched")) / 1000

    created = touched()
    await load(store, session_id)
    await asyncio.sleep(0.05)
    assert touched() == created
    await asyncio.sleep(0.2)
    session = await load(store, session_id)
    assert session.times.touched == session.times.now > created
    async with asyncio.timeout(2):  # nobody waits for it
        while touched() == created:
            await asyncio.sleep(0.01)
    assert ttl(place, session_id) > 59.9
    (short,) = engines(1, idle_seconds=1, touch_seconds=60)
    assert short.limits.touch_throttle_seconds == 0.1


async def test_use_just_before_the_end(
    engines: Engines, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is answered shortly before the idle timeout stays logged in; a session that ends meanwhile is nobody's."""
    monkeypatch.setattr("app.sessions.store.NEARLY_OVER_MS", 30_000)
    near, far = (engines(1, idle_seconds=idle, touch_seconds=0)[0] for idle in (20, 600))
    first, second = [await near.create(name) for name in ("ann", "bob")]
    aged(place, first, touched=5)
    session = await load(near, first)
    touched = int(place.admin.hget(key_of(first), "touched")) / 1000
    assert touched >= session.times.now
    touch = RedisSessions._touch

    def too_late(store: RedisSessions, place_: Any) -> Any:
        place.admin.delete(*keys(place, "session:*"))
        return touch(store, place_)

    monkeypatch.setattr(RedisSessions, "_touch", too_late)
    assert await near.load(second) is None
    assert await far.load(await far.create("cyd")) is not None  # nobody waits for its touch


async def test_writing_keeps_the_ttl(store: RedisSessions, place: Place) -> None:
    """No write removes or lengthens the time that Redis gives a session."""
    session_id = await store.create("ann")
    place.admin.pexpire(key_of(session_id), 5000)
    session = await load(store, session_id)
    session["a"] = 1
    await store.save(session)
    await store.increment(session, "n", operation="x")
    await store.update(session, lambda s: s.update(b=2))
    await store.pop(session, "a")
    assert 4 < ttl(place, session_id) <= 5


@pytest.mark.parametrize(("given", "left"), [(30, 30), (90, 60)])
async def test_times_told(engines: Engines, given: float, left: float) -> None:
    """A session says how long it has, the shorter of both deadlines first."""
    (store,) = engines(1, idle_seconds=given, absolute_seconds=60)
    times = (await load(store, await store.create("ann"))).times
    assert times.idle_expires_in == pytest.approx(left, abs=1)
    assert times.absolute_expires_in == pytest.approx(60, abs=1)


async def test_no_worker_clock(
    store: RedisSessions, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose clock is an hour wrong still sees the right times: only Redis's clock counts."""
    session_id = await store.create("ann")
    before = (await load(store, session_id)).times
    monkeypatch.setattr("time.time", lambda: before.now + 3600)
    assert (await load(store, session_id)).times.now == pytest.approx(before.now, abs=5)


# ---- limits that change, and lifetimes of a session's own


def aged(place: Place, session_id: str, **seconds: float) -> None:
    """Make facts of a session that many seconds older."""
    for fact, by in seconds.items():
        place.admin.hincrby(key_of(session_id), fact, -round(by * 1000))


async def test_shortened_idle_limit(engines: Engines, place: Place) -> None:
    """A shorter idle limit ends sessions that began under a longer one, at their next load."""
    (long,), (short,) = engines(1), engines(1, idle_seconds=8)
    ids = [await long.create("ann") for _ in range(3)]
    for session_id in ids[:2]:
        aged(place, session_id, touched=10)
    assert await short.load(ids[0]) is None
    assert key_of(ids[0]).encode() not in keys(place)
    used = await load(short, ids[2])
    assert 0 < used.times.idle_expires_in <= 8
    assert [device.ref for device in await short.devices("ann")] == [used.ref]
    assert await short.touch(used)
    assert ttl(place, ids[2]) <= 8


async def test_shortened_absolute_limit(engines: Engines, place: Place) -> None:
    """A shorter absolute limit ends sessions that began under a longer one, at their next load."""
    (long,), (short,) = engines(1), engines(1, absolute_seconds=60)
    session_id = await long.create("ann")
    aged(place, session_id, created=30)
    assert (await load(short, session_id)).times.absolute_expires_in == pytest.approx(30, abs=2)
    aged(place, session_id, created=31)
    assert await short.load(session_id) is None
    assert keys(place, "session:*") == []


async def test_the_oldest_login_goes(engines: Engines) -> None:
    """The cap ends the oldest login, also where a shorter absolute limit gave it the last deadline."""
    (long,), (short,) = engines(1, max_per_user=2), engines(1, absolute_seconds=60, max_per_user=2)
    ids = []
    for store in (long, short, short):
        ids.append(await store.create("ann"))
        await asyncio.sleep(0.002)
    assert [await short.load(one) is not None for one in ids] == [False, True, True]


async def test_operations_live_as_long(engines: Engines) -> None:
    """An operation id is remembered as long as the session lives, also when that is only read."""
    (store,) = engines(1, idle_seconds=0.6)
    session_id = await store.create("ann")
    session = await load(store, session_id)
    assert await store.increment(session, "n", operation="x") == 1
    for _ in range(12):
        await asyncio.sleep(0.1)
        await load(store, session_id)
    assert await store.increment(session, "n", operation="x") == 1


async def test_lifetimes_of_its_own(engines: Engines, place: Place) -> None:
    """A session may be given lifetimes of its own, which shorter and longer limits leave alone."""
    (store,) = engines(1, idle_seconds=60, absolute_seconds=600, touch_seconds=0)
    own = {"idle_seconds": 5000.0, "absolute_seconds": 50_000.0}
    session_id = await store.create("ann", **own)  # type: ignore[arg-type]
    session = await load(store, session_id)
    assert session.lasting
    assert session.times.idle_expires_in == pytest.approx(5000, abs=2)
    assert session.times.absolute_expires_in == pytest.approx(50_000, abs=2)
    await store.touch(session)
    assert ttl(place, session_id) > 4000
    assert not (await load(store, await store.create("ann"))).lasting
    for wrong in ({"idle_seconds": 0.0}, {"absolute_seconds": float("nan")}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            await store.create("ann", **wrong)  # type: ignore[arg-type]


async def test_touch(engines: Engines, place: Place) -> None:
    """A touch moves the idle deadline at once, whatever the throttle, and says whether the session lives."""
    (store,) = engines(1, touch_seconds=60)
    session_id = await store.create("ann")
    session = await load(store, session_id)
    place.admin.pexpire(key_of(session_id), 5000)
    assert await store.touch(session)
    assert ttl(place, session_id) > 1000
    await store.destroy(await load(store, session_id))
    assert not await store.touch(session)
    assert session.ended
    assert keys(place) == []
