"""What has ended stays ended, whatever is still on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.sessions import RedisSessions, Session
from lab.testbed.servers import Place
from tests.integration import races
from tests.integration.conftest import Engines
from tests.integration.loading import key_of, keys, load

End = Callable[[RedisSessions, str, Place], Awaitable[object]]


async def by_logout(store: RedisSessions, session_id: str, place: Place) -> None:
    assert await store.destroy(await load(store, session_id))


async def from_another_device(store: RedisSessions, session_id: str, place: Place) -> None:
    assert await store.end("ann", (await load(store, session_id)).ref)


async def with_all_others(store: RedisSessions, session_id: str, place: Place) -> None:
    other = await load(store, await store.create("ann"))
    assert await store.end_others(other) == 1


async def by_an_administrator(store: RedisSessions, session_id: str, place: Place) -> None:
    assert await store.end_all("ann") == 1


async def by_expiry(store: RedisSessions, session_id: str, place: Place) -> None:
    place.admin.pexpire(key_of(session_id), 1)
    await asyncio.sleep(0.02)


async def by_the_cap(store: RedisSessions, session_id: str, place: Place) -> None:
    for _ in range(5):
        await asyncio.sleep(0.002)  # the oldest goes; sessions of one millisecond have no order
        await store.create("ann")


async def by_a_new_login(store: RedisSessions, session_id: str, place: Place) -> None:
    await store.create("ann", replacing=await load(store, session_id))


async def by_another_users_login(store: RedisSessions, session_id: str, place: Place) -> None:
    await store.create("bob", replacing=await load(store, session_id))


ENDS = [
    by_logout, from_another_device, with_all_others, by_an_administrator,
    by_expiry, by_the_cap, by_a_new_login, by_another_users_login,
]  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
async def test_nothing_brings_it_back(engines: Engines, place: Place, end: End) -> None:
    """However a session ended, no late save, increment, pop, update, renewal or load revives it."""
    here, there = engines(2, renew_seconds=0.005, renew_grace_seconds=0)
    session_id = await here.create("ann", {"n": 1})
    await asyncio.sleep(0.01)
    late = await load(there, session_id)
    assert late.renewal_due
    await end(here, session_id, place)

    late["n"] = 2
    assert not await there.save(late)
    assert await there.increment(late, "n", operation="x") is None
    assert await there.pop(late, "n") is None
    assert await there.renew(late) is None
    assert not await there.update(late, _write)
    assert await there.load(session_id) is None
    assert await here.load(session_id) is None
    assert key_of(session_id).encode() not in keys(place)
    assert not [key for key in keys(place) if session_id[4:].encode() in key]


async def test_dropped_writes_are_counted(engines: Engines) -> None:
    """A late write is dropped, counted as gone, and the session in hand knows it has ended."""
    here, there = engines(2)
    session_id = await here.create("ann")
    late = await load(there, session_id)
    await here.end_all("ann")
    late["n"] = 2
    assert not await there.save(late)
    assert late.ended
    assert there.counters.gone == 1
    assert there.counters.saves == 0


async def test_an_overtaken_update_stays_out(engines: Engines, place: Place) -> None:
    """An update that finds a conflict and then no session writes nothing."""
    here, there = engines(2)
    session_id = await here.create("ann", {"n": 1})
    late = await load(there, session_id)
    place.admin.hincrby(key_of(session_id), "version", 1)

    def log_out(session: Session) -> None:
        session["n"] = 5
        if session.version == 2:  # the second try, with what the conflict made it load
            place.admin.delete(key_of(session_id))

    assert not await there.update(late, log_out)
    assert key_of(session_id).encode() not in keys(place)


async def test_logged_out_while_writing(engines: Engines) -> None:
    """With a logout in the middle of parallel writes, no session is alive afterwards, in 40 rounds."""
    four = engines(4)
    for number in range(40):
        session_id = await four[0].create(f"user-{number}")
        sessions = [await load(engine, session_id) for engine in four]
        for n, session in enumerate(sessions):
            session[f"k{n}"] = 1
        writes = [engine.save(session) for engine, session in zip(four, sessions, strict=True)]
        counts = [engine.increment(s, "n") for engine, s in zip(four, sessions, strict=True)]
        leaving = await load(four[1], session_id)
        await asyncio.gather(*writes, four[1].destroy(leaving), *counts)
        assert await four[2].load(session_id) is None


async def test_revived_by_nobody(engines: Engines) -> None:
    """The races that revive sessions in other stores revive none here."""
    four = engines(4)
    assert await races.revived_by_writers(four, rounds=20) == 0
    assert await races.undone_by_readers(four, rounds=60) == 0


async def test_ending_twice(store: RedisSessions) -> None:
    """Ending a session that has ended is no error, and says so."""
    session = await load(store, await store.create("ann"))
    assert await store.destroy(session)
    assert not await store.destroy(session)
    assert not await store.end("ann", session.ref)
    assert await store.end_all("ann") == 0


def _write(session: Session) -> None:
    session["n"] = 100
