"""The sessions of one user: listed, ended in every combination, and never left behind."""

from __future__ import annotations

import asyncio
import time

from app.sessions import RedisSessions
from app.sessions.identity import user_key
from lab.testbed.servers import Place, wait_until
from tests.integration.conftest import Engines
from tests.integration.loading import key_of, keys, load


async def test_listed(engines: Engines) -> None:
    """A user's sessions are listed with browser, address and times, the newest login first."""
    here, there = engines(2)
    before = time.time()
    first = await here.create("ann", agent="Firefox", address="192.0.2.1")
    await asyncio.sleep(0.003)
    second = await there.create("ann", agent="curl", address="192.0.2.2")
    await there.create("bob", agent="other")
    devices = await here.devices("ann")
    assert [(d.agent, d.address) for d in devices] == [
        ("curl", "192.0.2.2"),
        ("Firefox", "192.0.2.1"),
    ]
    refs = [(await load(here, session_id)).ref for session_id in (second, first)]
    assert [device.ref for device in devices] == refs
    assert before - 1 < devices[1].created <= devices[0].created <= time.time() + 1
    assert devices[0].last_seen >= devices[0].created


async def test_labels_are_bounded(store: RedisSessions) -> None:
    """A browser's name is cut to 256 characters, and any text is allowed in it."""
    await store.create("ann", agent="é\x00" * 1000, address="")
    (device,) = await store.devices("ann")
    assert device.agent == "é\x00" * 128


async def test_one_ended(engines: Engines) -> None:
    """Ending one session leaves the user's others alone, and nobody else can end it."""
    here, there = engines(2)
    ids = [await here.create("ann") for _ in range(3)]
    victim = await load(here, ids[1])
    assert not await there.end("bob", victim.ref)
    assert await there.end("ann", victim.ref)
    assert [await here.load(i) is not None for i in ids] == [True, False, True]
    assert len(await here.devices("ann")) == 2


async def test_unknown_refs(store: RedisSessions) -> None:
    """A name that belongs to no session of the user ends nothing."""
    await store.create("ann")
    for ref in ("", "0" * 16, "*", "x"):
        assert not await store.end("ann", ref)
    assert len(await store.devices("ann")) == 1


async def test_others_ended(engines: Engines) -> None:
    """Ending the others leaves this session and other users' alone."""
    here, there = engines(2)
    ids = [await here.create("ann") for _ in range(4)]
    bob = await here.create("bob")
    assert await there.end_others(await load(there, ids[2])) == 3
    assert [await here.load(i) is not None for i in ids] == [False, False, True, False]
    assert await here.load(bob) is not None


async def test_all_ended(engines: Engines, place: Place) -> None:
    """Ending all leaves nothing of this user in Redis, and other users alone."""
    here, there = engines(2)
    for _ in range(4):
        session = await load(here, await here.create("ann"))
        await here.increment(session, "n", operation="x")
    bob = await here.create("bob")
    assert await there.end_all("ann") == 4
    assert await here.load(bob) is not None
    assert len(keys(place)) == 2  # bob's session and index
    assert await there.end_all("nobody") == 0


async def test_a_login_during_end_all(engines: Engines) -> None:
    """Logins in parallel with ending all are either ended or listed, never hidden."""
    here, there = engines(2, max_per_user=50)
    for number in range(10):
        user = f"user-{number}"
        ids = await asyncio.gather(*(here.create(user) for _ in range(4)))
        *more, _ = await asyncio.gather(here.create(user), there.create(user), there.end_all(user))
        alive = [i for i in [*ids, *more] if await here.load(i) is not None]
        listed = {device.ref for device in await here.devices(user)}
        assert {(await load(here, i)).ref for i in alive} == listed
        assert not set(alive) & set(ids)


async def test_expired_ones_are_not_listed(store: RedisSessions, place: Place) -> None:
    """A session that Redis has let expire is neither listed nor counted, and leaves the index."""
    ids = [await store.create("ann") for _ in range(3)]
    place.admin.delete(key_of(ids[0]))
    assert len(await store.devices("ann")) == 2
    assert place.admin.zcard(keys(place, "user:*")[0]) == 2
    assert await store.end_all("ann") == 2


async def test_index_lives_as_long_as_its_last_session(engines: Engines, place: Place) -> None:
    """The index expires with the last deadline in it, whichever login came first."""
    (long,) = engines(1, absolute_seconds=100)
    (short,) = engines(1, absolute_seconds=10)
    for user, first, second in (("ann", long, short), ("bob", short, long)):
        await first.create(user)
        await second.create(user)
        assert 99 < place.admin.pttl(user_key(user)) / 1000 <= 100


async def test_nothing_leaks(engines: Engines, place: Place) -> None:
    """After 10,000 rounds of login, use and logout or expiry no session, index or log is left."""
    four = engines(4, idle_seconds=0.5, absolute_seconds=1, max_per_user=3)

    async def round_of(number: int) -> None:
        store, user = four[number % 4], f"user-{number % 997}"
        session = await store.load(await store.create(user))
        if session is not None:
            await store.increment(session, "n", operation="x")
        if session is not None and number % 2:
            await store.destroy(session)

    for start in range(0, 10_000, 250):
        await asyncio.gather(*map(round_of, range(start, start + 250)))
    assert sum(store.counters.loads for store in four) == 10_000
    wait_until(lambda: keys(place) == [], seconds=3, what="an empty Redis")
    wait_until(lambda: _sizes(place) == 0, seconds=5, what="no key in any of its tables")


def _sizes(place: Place) -> int:
    return sum(int(node.admin.dbsize()) for node in place.nodes)
