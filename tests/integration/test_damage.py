"""Redis holds something that is no session: an anonymous visitor, the damage removed, no loop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from app.sessions import RedisSessions, StoreUnavailable
from lab.testbed.servers import Place
from tests.integration.loading import key_of, keys, load

Damage = Callable[[Any, str], object]

DAMAGES: dict[str, Damage] = {
    "broken JSON": lambda redis, key: redis.hset(key, "d:a", b'{"half": '),
    "no UTF-8": lambda redis, key: redis.hset(key, "d:a", b'"\xff"'),
    "no UTF-8 in a field's name": lambda redis, key: redis.hset(key, b"d:\xff", b"1"),
    "no UTF-8 in the user's name": lambda redis, key: redis.hset(key, "user", b"\xff"),
    "an empty value": lambda redis, key: redis.hset(key, "d:a", b""),
    "a text": lambda redis, key: (redis.delete(key), redis.set(key, "text")),
    "a list": lambda redis, key: (redis.delete(key), redis.rpush(key, "x")),
    "a set": lambda redis, key: (redis.delete(key), redis.sadd(key, "x")),
    "a fragment": lambda redis, key: (redis.delete(key), redis.hset(key, "d:a", b"1")),
    "no deadline": lambda redis, key: redis.hdel(key, "deadline"),
    "no version": lambda redis, key: redis.hdel(key, "version"),
    "no user": lambda redis, key: redis.hdel(key, "user"),
    "a deadline that is no number": lambda redis, key: redis.hset(key, "deadline", "soon"),
    "a version that is no number": lambda redis, key: redis.hset(key, "version", "new"),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damaged_session(
    store: RedisSessions, place: Place, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A session damaged in Redis is an anonymous visitor at once and later, and others are untouched."""
    session_id, other = await store.create("ann"), await store.create("ann", {"a": 1})
    DAMAGES[damage](place.admin, key_of(session_id))
    with caplog.at_level(logging.ERROR):
        assert await store.load(session_id) is None
        assert await store.load(session_id) is None
    assert key_of(session_id).encode() not in keys(place)
    assert len(caplog.records) <= 1
    assert session_id not in caplog.text
    assert dict(await load(store, other)) == {"a": 1}
    assert len(await store.devices("ann")) == 1
    await store.create("ann")


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damaged_under_a_request(store: RedisSessions, place: Place, damage: str) -> None:
    """A session damaged while a request runs: its writes answer, or say 503, and the next load ends it."""
    session_id = await store.create("ann", {"a": 1})
    writes: list[Callable[[Any], Any]] = [
        store.save,
        lambda session: store.increment(session, "n", operation="x"),
        lambda session: store.pop(session, "missing"),
        store.destroy,
    ]
    for write in writes:
        place.admin.delete(key_of(session_id))
        session_id = await store.create("ann", {"a": 1})
        session = await load(store, session_id)
        session["b"] = 2
        DAMAGES[damage](place.admin, key_of(session_id))
        with suppress(StoreUnavailable):
            await write(session)
        assert await store.load(session_id) is None


@pytest.mark.parametrize("kind", ["text", "list", "hash"])
async def test_damaged_index(store: RedisSessions, place: Place, kind: str) -> None:
    """Something else at the place of a user's index: each request goes on, and a login mends it."""
    methods: list[Callable[[Any, str], Any]] = [
        lambda session, session_id: store.load(session_id),
        lambda session, session_id: store.save(session),
        lambda session, session_id: store.destroy(session),
        lambda session, session_id: store.end("ann", session.ref),
        lambda session, session_id: store.end_others(session),
        lambda session, session_id: store.end_all("ann"),
        lambda session, session_id: store.devices("ann"),
        lambda session, session_id: store.create("ann", replacing=session),
    ]
    for method in methods:
        place.admin.flushall()
        session_id = await store.create("ann")
        session = await load(store, session_id)
        session["a"] = 1
        _replace(place.admin, keys(place, "user:*")[0], kind)
        await method(session, session_id)
        await store.create("ann")
        assert len(await store.devices("ann")) >= 1


async def test_logout_with_a_damaged_index(store: RedisSessions, place: Place) -> None:
    """A logout ends the session even where the user's index is damaged."""
    session_id = await store.create("ann")
    session = await load(store, session_id)
    _replace(place.admin, keys(place, "user:*")[0], "text")
    assert await store.destroy(session)
    assert await store.load(session_id) is None


async def test_damaged_operation_log(store: RedisSessions, place: Place) -> None:
    """Something else at the place of the operation log: it begins anew, and the session lives."""
    session_id = await store.create("ann")
    session = await load(store, session_id)
    await store.increment(session, "n", operation="x")
    _replace(place.admin, keys(place, "operations:*")[0], "text")
    assert await store.increment(session, "n", operation="y") == 2
    assert await store.increment(session, "n", operation="y") == 2
    assert await store.load(session_id) is not None


async def test_another_programs_json(store: RedisSessions, place: Place) -> None:
    """Values that another program wrote with other spacing are read, and not rewritten for nothing."""
    session_id = await store.create("ann")
    place.admin.hset(key_of(session_id), "d:cart", b'{ "n" : 1.0, "s":"\\u00e9\\/" }')
    session = await load(store, session_id)
    assert session["cart"] == {"n": 1.0, "s": "é/"}
    assert await store.save(session)
    assert (await load(store, session_id)).version == 1


def _replace(redis: Any, key: bytes, kind: str) -> None:
    redis.delete(key)
    if kind == "text":
        redis.set(key, "x")
    elif kind == "list":
        redis.rpush(key, "x")
    else:
        redis.hset(key, "x", "y")


SIBLINGS: dict[str, Damage] = {
    **DAMAGES,
    "a creation that is no number": lambda redis, key: redis.hset(key, "created", "xyz"),
    "a touch that is no number": lambda redis, key: redis.hset(key, "touched", "-1e5"),
    "no creation": lambda redis, key: redis.hdel(key, "created"),
}


@pytest.mark.parametrize("damage", SIBLINGS)
async def test_damaged_siblings(store: RedisSessions, place: Place, damage: str) -> None:
    """A damaged session beside it stops neither the list of devices, nor a login, nor the ending of all."""
    whole, damaged = await store.create("ann"), await store.create("ann")
    SIBLINGS[damage](place.admin, key_of(damaged))
    refs = [device.ref for device in await store.devices("ann")]
    assert (await load(store, whole)).ref in refs
    await store.create("ann")
    assert await store.end_all("ann") >= 2
    assert keys(place) == []


async def test_damaged_labels(store: RedisSessions, place: Place) -> None:
    """A label that is no text, or is missing, is shown as far as it is one."""
    session_id, other = await store.create("ann", agent="x"), await store.create("ann")
    place.admin.hset(key_of(session_id), "agent", b"Fire\xfffox")
    place.admin.hdel(key_of(other), "agent", "address")
    assert {device.agent for device in await store.devices("ann")} == {"Fire\ufffdfox", ""}
