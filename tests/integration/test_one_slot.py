"""Each call is whole on one node of a cluster: all keys it touches are named and share a slot."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from redis.crc import key_slot

from app.sessions import RedisSessions
from app.sessions.identity import user_key
from lab.testbed.monitor import Command, Monitor
from lab.testbed.servers import Place
from tests.integration.conftest import Engines
from tests.integration.loading import load

# Commands inside the scripts whose first argument is no key.
WITHOUT_KEY = {"TIME"}


async def everything_it_can(store: RedisSessions) -> None:
    """Each method of the engine, for users on different nodes."""
    for user in ("ann", "bob", "carol", "dan", "eve"):
        old = await store.create(user, {"flash": 1})
        current = await store.create(user, replacing=await load(store, old))
        session = await load(store, current)
        session["a"] = [1]
        await store.save(session)
        await store.update(session, lambda s: s.update(b=2))
        await store.increment(session, "n", operation="x")
        await store.pop(session, "b")
        await asyncio.sleep(0.003)
        stale = await load(store, await store.create(user))
        await asyncio.sleep(0.003)
        await store.renew(await load(store, current))
        await store.devices(user)
        await store.end(user, stale.ref)
        await store.end_others(session)
        await store.create("mallory", replacing=session)
        for _ in range(4):
            await store.create(user)
        await store.destroy(await load(store, await store.create(user)))
        await store.end_all(user)
        await store.check()


@pytest.fixture
async def asked(engines: Engines, place: Place) -> Monitor:
    """What Redis was asked by all of that."""
    (store,) = engines(1, renew_seconds=0.002, renew_grace_seconds=0.001, max_per_user=3)
    with Monitor(place) as asked:
        await everything_it_can(store)
    return asked


async def test_all_keys_share_a_slot(asked: Monitor) -> None:
    """Every call names its keys, and all of one call have one hash slot."""
    assert len(asked.calls) > 100
    for call in asked.calls:
        assert call.keys, call
        assert len(set(map(key_slot, call.keys))) == 1, call


async def test_scripts_touch_only_named_keys(asked: Monitor) -> None:
    """No script touches a key that its caller did not name."""
    allowed: set[bytes] = set()
    touched = 0
    for one in asked.commands:
        if not one.by_script:
            allowed = set(one.keys) if one.name in ("EVAL", "EVALSHA") else set()
            continue
        for key in _touched(one):
            touched += 1
            assert key in allowed, one
    assert touched > 300


async def test_users_are_spread(shared_cluster: Place) -> None:
    """Users fall on all three nodes of a cluster, none of which gets few."""
    owners = (shared_cluster.owner_of(user_key(f"user-{n}")).port for n in range(60))
    nodes = Counter(owners)
    assert len(nodes) == 3
    assert min(nodes.values()) > 5


async def test_one_batch_over_three_nodes(engines: Engines) -> None:
    """Calls of one turn for users on different nodes are answered each with its own."""
    (store,) = engines(1)
    users = [f"user-{n}" for n in range(30)]
    ids = await asyncio.gather(*(store.create(user, {"me": user}) for user in users))
    sessions = await asyncio.gather(*(load(store, session_id) for session_id in ids))
    assert [(s.user, s["me"]) for s in sessions] == [(user, user) for user in users]


def _touched(one: Command) -> list[Any]:
    if one.name in WITHOUT_KEY:
        return []
    if one.name in {"UNLINK"}:
        return one.arguments[1:]
    return one.arguments[1:2]
