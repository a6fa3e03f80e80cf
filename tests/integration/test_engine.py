"""The session engine against a real server: what ends stays ended, and no update is lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import pytest

from app.sessions import (
    NotAnInteger,
    NotPlainJson,
    RedisSessions,
    Session,
    SessionTooLarge,
    StoreUnavailable,
)

Make = Callable[..., RedisSessions]


async def loaded(engine: RedisSessions, session_id: str) -> Session:
    session = await engine.load(session_id)
    assert session is not None
    return session


async def test_saved_on_one_worker_is_read_on_another(engine: Make) -> None:
    """A change saved by one engine is what the next load of another engine sees, nested ones too."""
    here, there = engine(), engine()
    session_id = await here.create("ann", {"cart": {"n": 1}})
    session = await loaded(here, session_id)
    session["cart"]["n"] += 1
    assert await here.save(session)

    assert dict(await loaded(there, session_id)) == {"cart": {"n": 2}}


async def test_parallel_writers_of_different_keys_keep_all_keys(engine: Make) -> None:
    """Twenty sessions loaded before any is saved: each of the twenty keys is there afterwards."""
    workers = [engine() for _ in range(4)]
    session_id = await workers[0].create("ann")
    sessions = [(w, await loaded(w, session_id)) for w in workers for _ in range(5)]
    for number, (_, session) in enumerate(sessions):
        session[f"k{number}"] = number
    await asyncio.gather(*(worker.save(session) for worker, session in sessions))

    assert {f"k{n}": n for n in range(20)} == dict(await loaded(workers[0], session_id))


async def test_logout_is_final(engine: Make) -> None:
    """After the end, no save, increment, update or renewal of an older load brings a session back."""
    here, there = engine(), engine()
    session_id = await here.create("ann", {"n": 1})
    late = await loaded(there, session_id)
    assert await here.destroy(await loaded(here, session_id))
    late["n"] = 2

    assert not await there.save(late)
    assert await there.increment(late, "n", operation="x") is None
    assert not await there.update(late, lambda s: s.__setitem__("n", 3))
    assert await there.renew(late) is None
    assert await here.load(session_id) is None


async def test_increment_counts_an_operation_once(engine: Make) -> None:
    """Parallel increments all count, and a repeated operation gets its first answer again."""
    workers = [engine() for _ in range(4)]
    session_id = await workers[0].create("ann")
    sessions = [await loaded(worker, session_id) for worker in workers]
    sums = await asyncio.gather(
        *(
            w.increment(s, "n", operation=f"{w}{i}")
            for w, s in zip(workers, sessions, strict=True)
            for i in range(5)
        )
    )
    again = await workers[3].increment(sessions[3], "n", operation=f"{workers[0]}0")

    assert list(range(1, 21)) == sorted(sums)
    assert sums[0] == again


async def test_cap_ends_the_oldest(engine: Make) -> None:
    """Of four logins with a cap of three, the first is over."""
    here = engine(max_per_user=3)
    ids = []
    for _ in range(4):
        ids.append(await here.create("ann"))
        await asyncio.sleep(0.005)  # Redis's clock counts milliseconds: within one, none is oldest

    assert [await here.load(i) is not None for i in ids] == [False, True, True, True]


async def test_login_replaces_the_old_session(engine: Make) -> None:
    """The old id is dead at once, and only what is on the list moves over."""
    here = engine()
    old = await here.create("ann", {"theme": "dark", "secret": 1})
    new = await here.create("ann", replacing=await loaded(here, old), keep=["theme"])

    assert await here.load(old) is None
    assert dict(await loaded(here, new)) == {"theme": "dark"}


async def test_login_replaces_an_empty_session(engine: Make) -> None:
    """A session that holds no data yet is replaced like any other."""
    here = engine()
    old = await here.create("ann")
    await here.create("ann", replacing=await loaded(here, old))

    assert await here.load(old) is None


async def test_another_users_login_keeps_nothing(engine: Make) -> None:
    """A login over somebody else's session ends that one and takes nothing from it."""
    here = engine()
    old = await here.create("ann", {"theme": "dark"})
    new = await here.create("bob", replacing=await loaded(here, old), keep=["theme"])

    assert await here.load(old) is None
    assert dict(await loaded(here, new)) == {}


async def test_parallel_renewal_makes_one_new_id(engine: Make) -> None:
    """One of several requests gets the new id; a write through the old one lands under the new."""
    here, there = engine(renew_seconds=0.01), engine(renew_seconds=0.01)
    old = await here.create("ann", {"n": 1})
    await asyncio.sleep(0.05)
    first, second = await loaded(here, old), await loaded(there, old)
    new_ids = [i for i in await asyncio.gather(here.renew(first), there.renew(second)) if i]
    second["n"] = 2

    assert len(new_ids) == 1
    assert await there.save(second)
    assert (await loaded(engine(), new_ids[0]))["n"] == 2


async def test_idle_and_absolute_deadlines(engine: Make) -> None:
    """A session ends when it is not used, and at its absolute deadline however much it is."""
    idle, absolute = engine(idle_seconds=0.3), engine(idle_seconds=5, absolute_seconds=0.3)
    unused, used = await idle.create("ann"), await absolute.create("bob")
    for _ in range(5):
        await asyncio.sleep(0.1)
        await absolute.load(used)

    assert await idle.load(unused) is None
    assert await absolute.load(used) is None


async def test_caps_and_plain_json(engine: Make) -> None:
    """What is too large or no plain JSON is refused with the old data intact."""
    here = engine(max_bytes=300)
    session_id = await here.create("ann", {"text": "old"})
    session = await loaded(here, session_id)
    for value in (float("nan"), 2**80, "\ud800", b"bytes", {1: 2}):
        with pytest.raises(NotPlainJson):
            session["text"] = value
    with pytest.raises(NotAnInteger):
        await here.increment(session, "text")
    session["text"] = "x" * 400
    with pytest.raises(SessionTooLarge):
        await here.save(session)

    assert dict(await loaded(here, session_id)) == {"text": "old"}


async def test_ended_from_elsewhere(engine: Make) -> None:
    """Each session of a user is listed, and ends alone, with the others, or with all."""
    here = engine()
    ids = [await here.create("ann") for _ in range(4)]
    keep = await loaded(here, ids[0])
    victim = await loaded(here, ids[1])
    assert len(await here.devices("ann")) == 4

    assert await here.end("ann", victim.ref)
    assert await here.end_others(keep) == 2
    assert await here.end_all("ann") == 1
    assert await here.devices("ann") == []


async def test_frozen_server_is_reported_and_nothing_repeated(server, engine: Make) -> None:  # type: ignore[no-untyped-def]
    """A write into a frozen server fails within its limit as `may have happened`, and counts once."""
    here = engine()
    session_id = await here.create("ann")
    session = await loaded(here, session_id)
    server.process.send_signal(signal.SIGSTOP)
    with pytest.raises(StoreUnavailable) as failure:
        async with asyncio.timeout(0.9):
            await here.increment(session, "n", operation="x")
    server.process.send_signal(signal.SIGCONT)

    assert failure.value.may_have_happened
    assert await here.increment(session, "n", operation="x") == 1


async def test_restarted_server_is_used_at_once(server, engine: Make) -> None:  # type: ignore[no-untyped-def]
    """After a restart with an empty script cache the first calls succeed without a new engine."""
    here = engine()
    await here.create("ann")
    server.stop()
    with pytest.raises(StoreUnavailable):
        await here.create("ann")
    server.start()

    ids = await asyncio.gather(*(here.create(f"user{n}") for n in range(5)))
    assert all([await here.load(i) for i in ids])


async def test_login_ends_a_session_renewed_meanwhile(engine: Make) -> None:
    """A login over a session whose id was renewed after it was loaded ends what it became."""
    here = engine(renew_seconds=0.01)
    old = await here.create("ann")
    await asyncio.sleep(0.05)
    loaded_before = await loaded(here, old)
    new = await here.renew(await loaded(here, old))
    assert new is not None
    await here.create("ann", replacing=loaded_before)

    assert await here.load(new) is None
