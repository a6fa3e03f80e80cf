"""Timed renewal: a new id for a session in use, with nothing lost and nobody logged out."""

from __future__ import annotations

import asyncio

from app.sessions import RedisSessions
from app.sessions.identity import successor_of
from lab.testbed.servers import Place
from tests.integration.conftest import Engines
from tests.integration.loading import everything, key_of, keys, load

SOON = {"renew_seconds": 0.05, "renew_grace_seconds": 0.03, "touch_seconds": 0.0}
DUE, OVER = 0.06, 0.05  # seconds after which an id is due, and the grace is over


async def offered(store: RedisSessions, session_id: str) -> str:
    """The successor that a request with this id is offered."""
    successor = await store.renew(await load(store, session_id))
    assert successor
    return successor


async def used(store: RedisSessions, session_id: str) -> None:
    """One request with this id, noted in Redis as the first of a successor is."""
    await store.touch(await load(store, session_id))


async def test_off_by_default(store: RedisSessions) -> None:
    """Nothing is ever due for renewal unless a time is set."""
    session = await load(store, await store.create("ann"))
    await asyncio.sleep(0.01)
    assert not session.renewal_due
    assert await store.renew(session) is None


async def test_due_after_its_time(engines: Engines) -> None:
    """A session is due once its id is old enough, not before, and its successor not again right after."""
    (store,) = engines(1, **SOON)
    session_id = await store.create("ann")
    assert not (await load(store, session_id)).renewal_due
    await asyncio.sleep(DUE)
    session = await load(store, session_id)
    assert session.renewal_due
    new = await store.renew(session)
    assert new
    assert new != session_id
    assert not session.renewal_due
    assert not (await load(store, new)).renewal_due
    await asyncio.sleep(DUE)
    assert (await load(store, new)).renewal_due


async def test_parallel_requests_are_offered_one_id(engines: Engines, place: Place) -> None:
    """Of twenty parallel requests with the old id all succeed, and all are offered the same new one."""
    four = engines(4, **SOON)
    old = await four[0].create("ann", {"n": 0})
    await asyncio.sleep(DUE)

    async def request(number: int) -> str | None:
        engine = four[number % 4]
        session = await load(engine, old)
        session[f"k{number}"] = number
        assert await engine.save(session)
        assert await engine.increment(session, "n", operation=str(number)) is not None
        return await engine.renew(session)

    (new,) = set(await asyncio.gather(*map(request, range(20))))
    assert new
    session = await load(four[0], new)
    assert dict(session) == {"n": 20} | {f"k{n}": n for n in range(20)}
    assert len(await four[0].devices("ann")) == 1
    assert sum(engine.counters.renewals for engine in four) == 1
    assert len(keys(place, "session:*")) == 1


async def test_good_until_the_successor_is_used(engines: Engines) -> None:
    """An id whose successor never arrived stays good, and offers the same one, long after the grace."""
    here, there = engines(2, **SOON)
    for _ in range(10):
        old = await here.create("ann")
        await asyncio.sleep(DUE)
        lost = await offered(here, old)  # this answer does not arrive
        await asyncio.sleep(2 * DUE)
        assert await offered(there, old) == lost


async def test_dead_after_the_grace(engines: Engines) -> None:
    """Once the successor is used the old id is good for the grace and dead after it; the session lives."""
    here, there = engines(2, **SOON)
    old = await here.create("ann")
    await asyncio.sleep(DUE)
    new = await offered(here, old)
    await used(there, new)
    assert await here.load(old) is not None
    assert await offered(there, old) == new
    await asyncio.sleep(OVER)
    assert await here.load(old) is None
    assert await there.load(new) is not None


async def test_an_event_stream_is_a_use(engines: Engines) -> None:
    """A request that must not keep the session alive still shows that the successor has arrived."""
    (store,) = engines(1, **SOON)
    old = await store.create("ann")
    await asyncio.sleep(DUE)
    new = await offered(store, old)
    await store.load(new, touch=False)
    await store.check()
    await asyncio.sleep(OVER)
    assert await store.load(old) is None


async def test_two_good_ids_at_most(engines: Engines) -> None:
    """After a second renewal the first id is dead, and a request that came with it is offered nothing."""
    (store,) = engines(1, **SOON)
    ids = [await store.create("ann")]
    await asyncio.sleep(DUE)
    slow = await load(store, ids[0])
    for _ in range(3):
        ids.append(await offered(store, ids[-1]))
        await used(store, ids[-1])
        await asyncio.sleep(DUE)
    assert [await store.load(one) is not None for one in ids] == [False, False, False, True]
    assert slow.renewal_due
    assert await store.renew(slow) is None
    slow["a"] = 1
    assert await store.save(slow)
    assert (await load(store, ids[-1]))["a"] == 1


async def test_nothing_is_offered_for_an_ended_session(engines: Engines) -> None:
    """A logout or a login while a request runs leaves it no id to send: its cookie would undo theirs."""
    here, there = engines(2, **SOON)
    for end in ("logout", "login"):
        old = await here.create("ann")
        await asyncio.sleep(DUE)
        slow, other = await load(here, old), await load(there, old)
        if end == "login":
            await there.create("ann", replacing=other)
        else:
            await there.destroy(other)
        assert slow.renewal_due
        assert await here.renew(slow) is None


async def test_a_write_under_the_old_id_lands(engines: Engines) -> None:
    """Whatever a request writes that began with the old id lands, also when that id is long dead."""
    here, there = engines(2, **SOON)
    old = await here.create("ann", {"flash": "hello", "n": 1})
    await asyncio.sleep(DUE)
    slow = await load(there, old)
    new = await offered(here, old)
    await used(here, new)
    await asyncio.sleep(OVER)
    assert await here.load(old) is None
    slow["a"] = 1
    assert await there.save(slow)
    assert await there.increment(slow, "n") == 2
    assert await there.pop(slow, "flash") == "hello"
    (await load(here, new))["c"] = 3
    assert await there.update(slow, lambda s: s.update(b=2))
    assert dict(await load(here, new)) == {"n": 2, "a": 1, "b": 2}


async def test_an_update_reads_again_under_a_dead_id(engines: Engines) -> None:
    """A read-modify-write that was overtaken goes on though the id it came with has died meanwhile."""
    here, there = engines(2, **SOON)
    old = await here.create("ann", {"n": 1})
    await asyncio.sleep(DUE)
    slow = await load(there, old)
    new = await offered(here, old)
    await used(here, new)
    await here.increment(await load(here, new), "n")
    await asyncio.sleep(OVER)
    assert await there.update(slow, lambda s: s.update(n=s["n"] + 10))
    assert (await load(here, new))["n"] == 12


async def test_operations_are_remembered(engines: Engines) -> None:
    """An operation counted before the renewal is not counted again after it, through either id."""
    here, there = engines(2, **SOON)
    old = await here.create("ann")
    session = await load(here, old)
    assert await here.increment(session, "n", operation="x") == 1
    await asyncio.sleep(DUE)
    new = await offered(here, old)
    assert await there.increment(await load(there, old), "n", operation="x") == 1
    assert await there.increment(await load(there, new), "n", operation="x") == 1
    assert (await load(here, new))["n"] == 1


async def test_one_session_for_its_user(engines: Engines) -> None:
    """A renewed session keeps its place under the cap, its ref, its login time and its deadline."""
    (store,) = engines(1, max_per_user=2, **SOON)
    old = await store.create("ann")
    before = await load(store, old)
    await asyncio.sleep(DUE)
    new = await offered(store, old)
    after = await load(store, new)
    await store.create("ann")
    assert store.counters.evicted == 0
    assert after.ref == before.ref == (await load(store, new)).ref
    assert after.times.created == before.times.created
    assert after.times.absolute_deadline == before.times.absolute_deadline


async def test_ended_by_an_older_page(engines: Engines) -> None:
    """A ref on a page from before the renewal still ends the session, and a logout with the old id too."""
    here, there = engines(2, **SOON)
    for by_ref in (True, False):
        old = await here.create("ann")
        page, stale = await here.devices("ann"), await load(there, old)
        await asyncio.sleep(DUE)
        new = await offered(here, old)
        await used(here, new)
        assert await (there.end("ann", page[0].ref) if by_ref else there.destroy(stale))
        assert await here.load(old) is None
        assert await here.load(new) is None


async def test_end_others_beside_a_renewal(engines: Engines) -> None:
    """Ending the others with the old id, before, while and after it is renewed, spares one's own session."""
    here, there = engines(2, **SOON)
    for number in range(9):
        old, other = await here.create("ann"), await here.create("ann")
        await asyncio.sleep(DUE)
        session = await load(there, old)
        renewal = asyncio.ensure_future(offered(here, old))
        if number % 3 == 0:
            await renewal
        elif number % 3 == 1:
            await asyncio.sleep(0)
        assert await there.end_others(session) == 1
        assert await here.load(other) is None
        new = await renewal
        assert await here.load(new) is not None
        assert await here.end_others(await load(here, new)) == 0
        await here.end_all("ann")


async def test_end_all_ends_renewed_sessions(engines: Engines) -> None:
    """Ending all sessions in parallel with renewals leaves none alive under any id."""
    here, there = engines(2, **SOON)
    for number in range(5):
        user = f"user-{number}"
        old = [await here.create(user) for _ in range(3)]
        await asyncio.sleep(DUE)
        sessions = [await load(here, session_id) for session_id in old]
        *renewed, _ = await asyncio.gather(*map(here.renew, sessions), there.end_all(user))
        for session_id in (*old, *filter(None, renewed)):
            assert await there.load(session_id) is None
        assert await there.devices(user) == []


async def test_every_key_expires(engines: Engines, place: Place) -> None:
    """A renewal leaves no key without a time to live, also where the user's index was lost before it."""
    (store,) = engines(1, **SOON)
    old = await store.create("ann")
    await asyncio.sleep(DUE)
    place.admin.delete(keys(place, "user:*")[0])
    await used(store, await offered(store, old))
    assert keys(place, "session:*") == [key_of(old).encode()]
    assert all(place.admin.pttl(key) > 0 for key in keys(place))


async def test_only_the_holder_can_make_it(engines: Engines, place: Place) -> None:
    """Redis holds neither id, and with its salt alone no successor can be made; with the old id it can."""
    (store,) = engines(1, **SOON)
    old, other = await store.create("ann"), await store.create("ann")
    await asyncio.sleep(DUE)
    new, others = await offered(store, old), await offered(store, other)
    held = everything(place)
    for session_id in (old, new, others):
        assert session_id.encode() not in held
        assert session_id[-36:].encode() not in held
    salt = place.admin.hget(key_of(old), "salt").decode()
    assert salt != place.admin.hget(key_of(other), "salt").decode()
    assert successor_of(old, salt) == new
    guesses = (key_of(old).rpartition(":")[2], place.admin.hget(key_of(old), "next").decode())
    for guess in guesses:
        assert successor_of(guess, salt)[-43:] != new[-43:]


async def test_wrong_successors_lead_nowhere(engines: Engines) -> None:
    """An id of the right form for a session it does not belong to is no id, renewed or not."""
    (store,) = engines(1, **SOON)
    old = await store.create("ann")
    wrong = successor_of(old, "a salt that Redis never made")
    assert await store.load(wrong) is None
    await asyncio.sleep(DUE)
    new = await offered(store, old)
    assert await store.load(wrong) is None
    assert await store.load(new) is not None
