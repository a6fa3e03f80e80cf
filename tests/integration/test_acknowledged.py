"""SESSION_WRITES_ACKNOWLEDGED_BY: an answer to a write means that replicas have it; reads never wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from app.sessions import Limits, Pipeline, RedisSessions, StoreUnavailable
from app.sessions.lua import SCRIPTS
from lab.testbed.monitor import Monitor
from lab.testbed.servers import RedisServer, running
from tests.integration.loading import load

LIMIT = 0.5

Make = Callable[..., RedisSessions]


@pytest.fixture
def replica(tmp_path: Path, server: RedisServer) -> Iterator[RedisServer]:
    """Follows `server`; this test may freeze it."""
    for replica in running(RedisServer(tmp_path / "replica")):
        assert isinstance(replica, RedisServer)
        replica.follow(server)
        yield replica


@pytest.fixture
async def store(server: RedisServer, replica: RedisServer) -> AsyncIterator[RedisSessions]:
    """An engine whose answers to writes wait for one replica."""
    pipeline = Pipeline(server.url, timeout_seconds=LIMIT, acknowledged_by=1)
    yield RedisSessions(pipeline)
    await pipeline.close()


async def test_replica_has_what_was_answered(
    store: RedisSessions, server: RedisServer, replica: RedisServer
) -> None:
    """At the moment of each answer the replica has the write: a login, a count, a change, a logout."""
    session = await load(store, await store.create("ann"))
    assert replica.admin.dbsize() == server.admin.dbsize() == 2
    for number in range(1, 30):
        assert await store.increment(session, "n") == number
        assert replica.admin.hget(session_key(server), "d:n") == str(number).encode()
    assert await store.destroy(session)
    assert replica.admin.keys("session:*") == []


def session_key(server: RedisServer) -> bytes:
    (key,) = server.admin.keys("session:*")
    return bytes(key)


async def test_one_wait_a_batch(store: RedisSessions, server: RedisServer) -> None:
    """Writes of one turn are closed by one WAIT; a read is closed by none."""
    session_id = await store.create("ann")
    session = await load(store, session_id)
    await store.increment(session, "n")
    with Monitor(server) as asked:
        await asyncio.gather(*(store.increment(session, "n") for _ in range(10)))
    assert [one.name for one in asked.from_clients] == ["EVALSHA"] * 10 + ["WAIT"]
    with Monitor(server) as asked:
        await asyncio.gather(*(load(store, session_id) for _ in range(10)))
    assert [one.name for one in asked.from_clients] == ["EVALSHA"] * 10


async def test_not_reached(store: RedisSessions, replica: RedisServer) -> None:
    """A replica that does not answer: writes fail in time as perhaps having happened, reads go on at once."""
    session_id = await store.create("ann")
    session = await load(store, session_id)
    await store.increment(session, "n")  # the server knows the script from now on
    loop = asyncio.get_running_loop()
    replica.freeze()
    try:
        for _ in range(3):
            began = loop.time()
            writing = asyncio.ensure_future(store.increment(session, "n"))
            await asyncio.sleep(0.01)
            await load(store, session_id)
            assert loop.time() - began < LIMIT / 2
            with pytest.raises(StoreUnavailable, match="0 of 1 replicas") as caught:
                await writing
            assert caught.value.may_have_happened
            assert loop.time() - began < 2 * LIMIT
    finally:
        replica.thaw()
    assert await store.increment(session, "n") == 5


async def test_repeated_operation_is_acknowledged_too(
    store: RedisSessions, server: RedisServer, replica: RedisServer
) -> None:
    """Repeated by another worker, an operation that no replica has is not acknowledged: it may still be lost."""
    session = await load(store, await store.create("ann"))
    other = Pipeline(server.url, timeout_seconds=LIMIT, acknowledged_by=1)
    await store.increment(session, "m")  # the server knows the script from now on
    replica.freeze()
    try:
        for engine in (store, RedisSessions(other)):
            with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
                await engine.increment(session, "n", operation="first")
    finally:
        replica.thaw()
    assert await RedisSessions(other).increment(session, "n", operation="first") == 1
    await other.close()


async def test_repeated_offer_is_acknowledged_too(
    store: RedisSessions, server: RedisServer, replica: RedisServer
) -> None:
    """An id is offered a successor by no worker while no replica has it: after a failover nobody would know it."""
    pipelines = [Pipeline(server.url, timeout_seconds=LIMIT, acknowledged_by=1) for _ in range(2)]
    limits = Limits(renew_seconds=0.05, renew_grace_seconds=0.01)
    engines = [RedisSessions(pipeline, limits) for pipeline in pipelines]
    session_id = await store.create("ann")
    server.admin.script_load(SCRIPTS["renew"].text)  # else it would be sent twice
    await asyncio.sleep(limits.renew_seconds)
    replica.freeze()
    try:
        for engine in engines:
            assert await engine.renew(await load(engine, session_id)) is None
            assert engine.counters.errors_by_kind == {("not acknowledged",): 1}
    finally:
        replica.thaw()
    offered = await engines[1].renew(await load(engines[1], session_id))
    assert offered
    assert await engines[0].load(offered)
    for pipeline in pipelines:
        await pipeline.close()


async def test_forgotten_scripts(
    store: RedisSessions, server: RedisServer, replica: RedisServer
) -> None:
    """A script that has to be sent in full is acknowledged like any other, and runs once."""
    session = await load(store, await store.create("ann"))
    for number in range(1, 6):
        server.admin.script_flush()
        sums = await asyncio.gather(*(store.increment(session, "n") for _ in range(3)))
        assert max(sum or 0 for sum in sums) == 3 * number
        assert replica.admin.hget(session_key(server), "d:n") == str(3 * number).encode()


async def test_given_up(store: RedisSessions) -> None:
    """A write that nobody waits for any more disturbs no other."""
    session = await load(store, await store.create("ann"))
    first = asyncio.ensure_future(store.increment(session, "n"))
    second = asyncio.ensure_future(store.increment(session, "n"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second in (1, 2)


def test_what_is_acknowledged() -> None:
    """Every script that a visitor's promise hangs on waits; what only tidies up, or reads, does not."""
    waits = {name for name, script in SCRIPTS.items() if script.acknowledged}
    assert waits == {"create", "destroy", "increment", "pop", "renew", "save"}
    reads = {name for name, script in SCRIPTS.items() if "no-writes" in script.text.split("\n")[0]}
    assert not waits & reads
