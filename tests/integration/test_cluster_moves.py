"""A cluster that changes under a running engine: a primary dies, slots move, connections are closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from app.sessions import Pipeline, RedisSessions, Session, StoreUnavailable
from app.sessions.identity import tag_of
from app.sessions.wire.slots import slot_of
from lab.testbed.servers import ClusterOfThree, RedisServer, running, wait_until
from tests.integration.loading import load

LIMIT = 0.5
PROMOTED_SECONDS = 8

Make = Callable[..., RedisSessions]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterOfThree]:
    """Three primaries with a replica each; its tests leave every slot with both."""
    folder = tmp_path_factory.mktemp("cluster")
    yield from running(ClusterOfThree(folder, replicas=1, node_timeout_ms=1000))  # type: ignore[misc]


@pytest.fixture
async def make(cluster: ClusterOfThree) -> AsyncIterator[Make]:
    pipelines: list[Pipeline] = []
    hosts = ",".join(f"127.0.0.1:{node.port}" for node in [*cluster.nodes, *cluster.spare])
    url = f"redis+cluster://{hosts}"

    def make(acknowledged_by: int = 0) -> RedisSessions:
        pipelines.append(Pipeline(url, timeout_seconds=LIMIT, acknowledged_by=acknowledged_by))
        return RedisSessions(pipelines[-1])

    yield make
    for pipeline in pipelines:
        await pipeline.close()


async def sessions_of(store: RedisSessions, count: int) -> dict[str, Session]:
    users = [f"user-{number}" for number in range(count)]
    return {user: await load(store, await store.create(user)) for user in users}


def slot(user: str) -> int:
    return slot_of(f"user:{{{tag_of(user)}}}:{user}")


async def test_closed_connections(cluster: ClusterOfThree, make: Make) -> None:
    """Connections that the servers closed cost no call."""
    store = make()
    sessions = await sessions_of(store, 12)
    for _ in range(10):
        for node in _living(cluster):
            node.admin.client_kill_filter(_type="normal", skipme=True)
        await asyncio.sleep(0.05)
        for session in sessions.values():
            assert await store.increment(session, "n") is not None


async def test_moved_slot(cluster: ClusterOfThree, make: Make) -> None:
    """While a user's slot moves key by key, his calls wait for it within their limit, and none is lost."""
    for acknowledged_by in (0, 1):
        wait_until(
            lambda: _is_settled(cluster, slot("user-0")), seconds=10, what="a followed primary"
        )
        store = make(acknowledged_by)
        session = (await sessions_of(store, 1))["user-0"]
        await store.increment(session, "n", operation="a")  # more than one key: hash, index and log
        move = Move(cluster, slot("user-0"))
        move.begin()
        writing = asyncio.create_task(_count(store, session, 5))
        await asyncio.sleep(0.1)
        move.one_key_of(session)
        await asyncio.sleep(0.1)
        move.rest()
        last = await writing
        move.end()
        assert await store.increment(session, "n", operation="b") == last + 1


async def test_keys_that_stay_split(cluster: ClusterOfThree, make: Make) -> None:
    """Keys that stay split for longer than the limit: refused in time, as not having happened."""
    store = make()
    session = (await sessions_of(store, 1))["user-0"]
    await store.increment(session, "n", operation="a")
    move = Move(cluster, slot("user-0"))
    move.begin()
    move.one_key_of(session)
    began = asyncio.get_running_loop().time()
    with pytest.raises(StoreUnavailable, match="TRYAGAIN") as caught:
        await store.increment(session, "n", operation="c")
    assert not caught.value.may_have_happened
    assert asyncio.get_running_loop().time() - began < 2 * LIMIT
    move.rest()
    assert await store.increment(session, "n", operation="c") == 2
    move.end()
    assert await store.increment(session, "n", operation="d") == 3


async def test_killed_primary(cluster: ClusterOfThree, make: Make) -> None:
    """A primary is killed: users of the others notice nothing, and its own are served by its replica."""
    store = make(acknowledged_by=0)
    sessions = await sessions_of(store, 30)
    victim = _primary_of(cluster, slot("user-0"))
    away = [u for u in sessions if _primary_of(cluster, slot(u)) is victim]
    here = [u for u in sessions if u not in away]
    assert away
    assert here
    victim.stop()
    loop = asyncio.get_running_loop()
    began = loop.time()
    back: set[str] = set()
    while len(back) < len(away):
        assert loop.time() - began < PROMOTED_SECONDS, f"{len(back)} of {len(away)} are back"
        for user in here:
            assert await store.increment(sessions[user], "n") is not None
        for user in set(away) - back:
            try:
                await store.increment(sessions[user], "n")
                back.add(user)
            except StoreUnavailable:
                break
        await asyncio.sleep(0.05)
    victim.start()  # others of these tests wait for replicas
    wait_until(lambda: not _is_primary(victim), seconds=10, what="a replica in its place")
    victim.wait_until_counted(_primary_of(cluster, slot("user-0")))


class Move:
    """One slot moves to another primary, step by step, as a resharding does it."""

    def __init__(self, cluster: ClusterOfThree, slot: int) -> None:
        self.slot = slot
        self.source = _primary_of(cluster, slot)
        primaries = [node for node in _living(cluster) if _is_primary(node)]
        self.target = next(node for node in primaries if node is not self.source)

    def begin(self) -> None:
        ids = [node.admin.execute_command("CLUSTER MYID") for node in (self.source, self.target)]
        self.target.admin.execute_command("CLUSTER SETSLOT", self.slot, "IMPORTING", ids[0])
        self.source.admin.execute_command("CLUSTER SETSLOT", self.slot, "MIGRATING", ids[1])

    def keys(self) -> list[str]:
        keys: list[str] = self.source.admin.execute_command("CLUSTER GETKEYSINSLOT", self.slot, 99)
        return keys

    def one_key_of(self, session: Session) -> None:
        """From then on the keys that an increment of this session names are split."""
        self._migrate(min(key for key in self.keys() if session.digest in key))

    def rest(self) -> None:
        for key in self.keys():
            self._migrate(key)

    def end(self) -> None:
        target = self.target.admin.execute_command("CLUSTER MYID")
        for node in (self.target, self.source):
            node.admin.execute_command("CLUSTER SETSLOT", self.slot, "NODE", target)

    def _migrate(self, key: str) -> None:
        self.source.admin.execute_command("MIGRATE", "127.0.0.1", self.target.port, key, 0, 2000)


def _living(cluster: ClusterOfThree) -> list[RedisServer]:
    """A test may have killed one."""
    return [node for node in [*cluster.nodes, *cluster.spare] if node.process]


def _is_primary(node: RedisServer) -> bool:
    role: list[Any] = node.admin.role()
    return role[0] == b"master"


def _primary_of(cluster: ClusterOfThree, slot: int) -> RedisServer:
    everybody = _living(cluster)
    (port,) = _owners_told_by(everybody[0], slot)
    return next(node for node in everybody if node.port == port)


def _owners_told_by(node: RedisServer, slot: int) -> set[int]:
    ranges = node.admin.execute_command("CLUSTER SLOTS")
    return {primary[1] for first, last, primary, *_ in ranges if first <= slot <= last}


def _is_settled(cluster: ClusterOfThree, slot: int) -> bool:
    """Whether all nodes name one primary of the slot, and a replica follows it."""
    told = {port for node in _living(cluster) for port in _owners_told_by(node, slot)}
    said = _primary_of(cluster, slot).admin.info("replication")
    followers = [said[f"slave{number}"] for number in range(said["connected_slaves"])]
    return len(told) == 1 and any(one["state"] == "online" for one in followers)


async def _count(store: RedisSessions, session: Session, times: int) -> int:
    last = 0
    for number in range(times):
        last = await store.increment(session, "n", operation=f"o{number}") or 0
        await asyncio.sleep(0.06)
    return last
