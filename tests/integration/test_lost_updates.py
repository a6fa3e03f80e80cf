"""Parallel requests on different workers: no update is lost, no delete undone, nothing counted twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.sessions import NotAnInteger, RedisSessions, Session, SessionConflict
from lab.testbed.monitor import Monitor
from lab.testbed.servers import Place
from tests.integration import races
from tests.integration.conftest import Engines
from tests.integration.loading import key_of, keys, load


async def test_parallel_writers_of_different_keys(engines: Engines) -> None:
    """Twenty parallel writers of different keys on four workers all keep theirs, in 50 rounds."""
    assert await races.lost_updates(engines(4), writers=20, rounds=50) == 0


async def test_deletes_are_not_undone(engines: Engines) -> None:
    """A key deleted by one request stays deleted when another, which had read it, saves."""
    assert await races.undone_deletes(engines(2), rounds=20) == 0


async def test_nested_changes_are_noticed(engines: Engines) -> None:
    """A change inside a list or dict is saved without reassigning it, and again after a save."""
    here, there = engines(2)
    session_id = await here.create("ann", {"cart": {"n": 1, "items": [[]]}})
    session = await load(here, session_id)
    session["cart"]["n"] += 1
    assert await here.save(session)
    session["cart"]["items"][0].append("book")
    assert await here.save(session)
    assert (await load(there, session_id))["cart"] == {"n": 2, "items": [["book"]]}


async def test_change_in_a_value_kept_aside(store: RedisSessions) -> None:
    """A list handed out before a save is still watched after it."""
    session_id = await store.create("ann", {"items": []})
    session = await load(store, session_id)
    items = session["items"]
    items.append(1)
    await store.save(session)
    items.append(2)
    await store.save(session)
    assert (await load(store, session_id))["items"] == [1, 2]


async def test_nothing_changed_writes_nothing(store: RedisSessions) -> None:
    """Saving a session that only was read, or set to what it was, leaves the version alone."""
    session_id = await store.create("ann", {"cart": {"n": 1}, "theme": "dark"})
    session = await load(store, session_id)
    session["cart"]["n"] = 1
    session["theme"] = "dark"
    assert await store.save(session)
    assert (await load(store, session_id)).version == session.version == 1


async def test_only_changed_fields_are_written(engines: Engines) -> None:
    """Two requests that write different keys one after the other both stand, whoever read first."""
    here, there = engines(2)
    session_id = await here.create("ann", {"a": 0, "b": 0})
    one, other = await load(here, session_id), await load(there, session_id)
    one["a"], other["b"] = 1, 1
    assert await there.save(other)
    assert await here.save(one)
    session = await load(here, session_id)
    assert dict(session) == {"a": 1, "b": 1}
    assert session.version == 3


async def test_update_is_compare_and_set(engines: Engines) -> None:
    """Of parallel read-modify-writes each that is acknowledged is in the sum, and no other."""
    four = engines(4)
    session_id = await four[0].create("ann")

    async def add(store: RedisSessions) -> int:
        session = await load(store, session_id)
        try:
            return await store.update(session, _add_one)
        except SessionConflict:
            return 0

    acknowledged = sum(await asyncio.gather(*(add(four[n % 4]) for n in range(40))))
    assert 3 <= acknowledged <= 40
    assert (await load(four[0], session_id))["n"] == acknowledged


async def test_update_gives_up(store: RedisSessions, place: Place) -> None:
    """An update that is overtaken three times raises SessionConflict and has written nothing."""
    session_id = await store.create("ann", {"n": 0})
    session = await load(store, session_id)
    seen: list[int] = []

    def overtaken(session: Session) -> None:
        seen.append(session.version)
        session["n"] = 1000
        place.admin.hincrby(key_of(session_id), "version", 1)  # as another worker's save does

    known = await load(store, await store.create("ann"))  # Redis has the scripts from here on
    await store.update(known, lambda session: session.__setitem__("n", 1))
    with Monitor(place) as asked, pytest.raises(SessionConflict):
        await store.update(session, overtaken)
    assert seen == [1, 2, 3]
    assert len(asked.calls) == 5  # three attempts, and the newest data before the second and third
    assert store.counters.conflicts == 3
    assert await store.save(session)  # and what was refused is not saved later
    assert (await load(store, session_id))["n"] == session["n"] == 0


async def test_update_of_an_ended_session(store: RedisSessions, place: Place) -> None:
    """An update that was overtaken and finds no session to read again is dropped and counted."""
    session_id = await store.create("ann", {"n": 0})
    session = await load(store, session_id)

    def overtaken(session: Session) -> None:
        session["n"] = 1
        place.admin.hincrby(key_of(session_id), "version", 1)
        # The save still conflicts, the load finds none.
        place.admin.hdel(key_of(session_id), "user")

    assert await store.update(session, overtaken) is False
    assert (session.ended, store.counters.gone) == (True, 1)


async def test_update_sees_the_newest_data(engines: Engines) -> None:
    """An update that was overtaken once is applied again to what the other one wrote."""
    here, there = engines(2)
    session_id = await here.create("ann", {"n": 1})
    session = await load(here, session_id)
    other = await load(there, session_id)
    other["n"] = 10
    await there.save(other)
    assert await here.update(session, _add_one)
    assert (await load(here, session_id))["n"] == session["n"] == 11


async def test_increments_add_up(engines: Engines) -> None:
    """Twenty parallel increments on four workers raise the counter by exactly twenty."""
    four = engines(4)
    session_id = await four[0].create("ann")
    sessions = [await load(engine, session_id) for engine in four]
    sums = await asyncio.gather(
        *(four[n % 4].increment(sessions[n % 4], "visits") for n in range(20))
    )
    assert sorted(sums, key=int) == list(range(1, 21))
    assert (await load(four[0], session_id))["visits"] == 20


async def test_an_operation_counts_once(engines: Engines) -> None:
    """An operation repeated in parallel and later, on any worker, is counted once and answered alike."""
    here, there = engines(2)
    session_id = await here.create("ann")
    one, other = await load(here, session_id), await load(there, session_id)
    for operation in ("a", "b", "c"):
        repeats = [(here, one), (there, other)] * 5
        answers = await asyncio.gather(
            *(engine.increment(session, "n", operation=operation) for engine, session in repeats)
        )
        assert len(set(answers)) == 1
    assert await here.increment(one, "n", operation="a") == 1
    assert (await load(here, session_id))["n"] == 3


async def test_an_operation_belongs_to_one_field(store: RedisSessions) -> None:
    """The same operation id on another field is another operation."""
    session = await load(store, await store.create("ann"))
    assert await store.increment(session, "a", operation="x") == 1
    assert await store.increment(session, "b", operation="x") == 1


async def test_operations_are_forgotten(store: RedisSessions, place: Place) -> None:
    """The last 256 operations are remembered and no more, so that a log cannot grow for ever."""
    session = await load(store, await store.create("ann"))
    await asyncio.gather(*(store.increment(session, "n", operation=str(n)) for n in range(300)))
    (log,) = keys(place, "operations:*")
    assert place.admin.llen(log) == 2 * 256
    assert await store.increment(session, "n", operation="44") == 45
    assert await store.increment(session, "n", operation="43") == 301


async def test_any_text_is_an_operation(store: RedisSessions) -> None:
    """An operation may have any name a client can send, a lone surrogate included."""
    session = await load(store, await store.create("ann"))
    for operation in ("\ud800", "a" * 10_000, "\x00", "é", "'; DROP"):
        first = await store.increment(session, "n", operation=operation)
        assert await store.increment(session, "n", operation=operation) == first
    assert session["n"] == 5


async def test_a_number_is_no_operation(store: RedisSessions) -> None:
    """An operation that looks like a stored result is not taken for a repeat."""
    session = await load(store, await store.create("ann"))
    for expected in (1, 2, 3, 4):
        assert await store.increment(session, "n", operation=str(expected - 1)) == expected


async def test_increment_by_more(store: RedisSessions) -> None:
    """An increment may add any whole number, down as well as up, and stops at 2^53."""
    session_id = await store.create("ann", {"n": 40})
    session = await load(store, session_id)
    assert await store.increment(session, "n", 2) == 42
    assert await store.increment(session, "n", -50) == -8
    assert await store.increment(session, "n", 2**53 - 1) == 2**53 - 9
    with pytest.raises(NotAnInteger):
        await store.increment(session, "n", 9)
    assert (await load(store, session_id))["n"] == 2**53 - 9


@pytest.mark.parametrize("value", ["7", 1.5, [1], None, True])
async def test_only_whole_numbers_count(store: RedisSessions, value: Any) -> None:
    """A field that holds anything but a whole number is not counted up and stays as it was."""
    session_id = await store.create("ann", {"n": value})
    session = await load(store, session_id)
    with pytest.raises(NotAnInteger):
        await store.increment(session, "n")
    assert (await load(store, session_id))["n"] == value


async def test_popped_once(engines: Engines) -> None:
    """Of parallel takers of a flash message exactly one gets it."""
    four = engines(4)
    session_id = await four[0].create("ann", {"flash": {"text": "saved"}})
    sessions = [await load(engine, session_id) for engine in four]
    taken = await asyncio.gather(*(four[n % 4].pop(sessions[n % 4], "flash") for n in range(20)))
    assert [value for value in taken if value is not None] == [{"text": "saved"}]
    assert "flash" not in await load(four[0], session_id)


async def test_popped_is_gone_here_too(store: RedisSessions) -> None:
    """A popped value is gone from the session in hand, and a later save does not bring it back."""
    session_id = await store.create("ann", {"flash": ["saved"]})
    session = await load(store, session_id)
    assert await store.pop(session, "flash") == ["saved"]
    assert "flash" not in session
    session["other"] = 1
    await store.save(session)
    assert dict(await load(store, session_id)) == {"other": 1}


def _add_one(session: Session) -> None:
    session["n"] = session.get("n", 0) + 1


@pytest.mark.parametrize("write", ["save", "increment", "pop"])
async def test_an_update_after_a_write_of_ones_own(engines: Engines, write: str) -> None:
    """A write of one's own after another's does not pass off older data as the newest: no update is lost."""
    here, there = engines(2)
    session_id = await here.create("ann", {"n": 1, "flash": 1})
    session, other = await load(here, session_id), await load(there, session_id)
    other["n"] = 10
    assert await there.save(other)
    if write == "save":
        session["mine"] = 1
        assert await here.save(session)
    elif write == "increment":
        assert await here.increment(session, "count") == 1
    else:
        assert await here.pop(session, "flash") == 1
    assert session.version == 3
    assert await here.update(session, _add_one)
    assert (await load(here, session_id))["n"] == 11


# ---- one session object in one request


async def test_an_update_after_a_repeated_operation(engines: Engines) -> None:
    """A repeated operation raises nothing and shows nobody else's write: the update after it begins anew."""
    here, there = engines(2)
    session_id = await here.create("ann", {"a": 1})
    await there.increment(await load(there, session_id), "n", operation="x")
    late = await load(here, session_id)
    await there.update(await load(there, session_id), _raise_a)

    await here.increment(late, "n", operation="x")
    await here.update(late, _raise_a)

    assert (await load(here, session_id))["a"] == 3


def _raise_a(session: Session) -> None:
    session["a"] += 1


async def test_changed_while_it_is_saved(store: RedisSessions) -> None:
    """What changes while a save of the same object is under way is written by the next save."""
    session_id = await store.create("ann", {"nested": [], "old": 1})
    session = await load(store, session_id)
    session["a"] = 1
    saving = asyncio.ensure_future(store.save(session))
    await asyncio.sleep(0)
    session["b"], session["a"] = 2, 3
    session["nested"].append(1)
    del session["old"]
    assert await saving
    assert session.changed
    assert await store.save(session)
    assert not session.changed
    assert dict(await load(store, session_id)) == {"a": 3, "b": 2, "nested": [1]}


@pytest.mark.parametrize("write", ["increment", "pop"])
async def test_assigned_while_it_is_counted(store: RedisSessions, write: str) -> None:
    """A key assigned while Redis counts or takes out its value is written by the next save."""
    session_id = await store.create("ann", {"n": 1})
    session = await load(store, session_id)
    call = store.increment(session, "n") if write == "increment" else store.pop(session, "n")
    under_way = asyncio.ensure_future(call)
    await asyncio.sleep(0)
    session["n"] = 50
    assert await under_way in (2, 1)
    assert session["n"] == 50
    assert await store.save(session)
    assert (await load(store, session_id))["n"] == 50


async def test_saves_of_one_object_keep_their_order(engines: Engines) -> None:
    """Of twenty saves of one object that are begun at once, the last one is what Redis holds."""
    (store,) = engines(1)
    session_id = await store.create("ann")
    session = await load(store, session_id)

    async def write(number: int) -> bool:
        session["n"] = number
        return await store.save(session)

    assert all(await asyncio.gather(*map(write, range(20))))
    assert (await load(store, session_id))["n"] == 19


async def test_updates_of_one_object(engines: Engines) -> None:
    """Parallel updates of one object all count, also where another worker writes between them."""
    here, there = engines(2)
    session_id = await here.create("ann")
    session, other = await load(here, session_id), await load(there, session_id)
    outcomes = await asyncio.gather(
        *(here.update(session, _add_one) for _ in range(5)), there.increment(other, "other")
    )
    assert outcomes == [True] * 5 + [1]
    assert (await load(here, session_id))["n"] == 5


async def test_an_update_keeps_other_changes(engines: Engines) -> None:
    """Changes made before and while an update is overtaken are neither lost nor left out."""
    here, there = engines(2)
    session_id = await here.create("ann", {"n": 1, "gone": 1})
    session, other = await load(here, session_id), await load(there, session_id)
    other["theirs"] = 1
    assert await there.save(other)
    session["before"] = 1
    del session["gone"]
    updating = asyncio.ensure_future(here.update(session, _add_one))
    await asyncio.sleep(0)
    session["meanwhile"] = 1
    assert await updating
    assert await here.save(session)
    wanted = {"n": 2, "theirs": 1, "before": 1, "meanwhile": 1}
    assert dict(await load(here, session_id)) == dict(session) == wanted


async def test_an_update_that_fails_leaves_other_changes(
    store: RedisSessions, place: Place
) -> None:
    """After a conflict nothing of the refused change is left, and what was changed before is still unsaved."""
    session_id = await store.create("ann", {"n": 0})
    session = await load(store, session_id)
    session["before"] = 1

    def overtaken(session: Session) -> None:
        session["n"] = 1000
        place.admin.hincrby(key_of(session_id), "version", 1)

    with pytest.raises(SessionConflict):
        await store.update(session, overtaken)
    assert dict(session) == {"n": 0, "before": 1}
    assert await store.save(session)
    assert dict(await load(store, session_id)) == {"n": 0, "before": 1}


async def test_an_update_that_changes_nothing(engines: Engines) -> None:
    """An update that leaves all as it was has looked at the newest data, and says so of an ended session."""
    here, there = engines(2)
    session_id = await here.create("ann", {"n": 1})
    session, other = await load(here, session_id), await load(there, session_id)
    other["n"] = 2
    assert await there.save(other)
    seen: list[int] = []
    assert await here.update(session, lambda s: seen.append(s["n"]))
    assert seen == [1, 2]
    assert (await load(here, session_id)).version == 2
    await there.destroy(other)
    assert not await here.update(session, lambda s: None)


async def test_an_ended_session_says_so(engines: Engines) -> None:
    """Once it is known that a session has ended, save, update and increment say so with or without changes."""
    here, there = engines(2)
    session_id = await here.create("ann", {"n": None})
    session = await load(here, session_id)
    assert await here.save(session)  # nothing to write, and nobody has said that it ended
    await there.destroy(await load(there, session_id))
    assert await here.pop(session, "n", "nothing") == "nothing"
    assert session.ended
    assert not await here.save(session)
    assert not await here.update(session, lambda s: None)
    assert await here.increment(session, "n") is None
    destroyed = await load(here, await here.create("ann"))
    assert await here.destroy(destroyed)
    destroyed["a"] = 1
    assert not await here.save(destroyed)


async def test_a_stored_null_is_no_nothing(store: RedisSessions) -> None:
    """A null that was stored is taken out as None, and nothing as the default."""
    session = await load(store, await store.create("ann", {"null": None}))
    assert await store.pop(session, "null", "nothing") is None
    assert await store.pop(session, "null", "nothing") == "nothing"
    assert await store.pop(session, "null") is None
