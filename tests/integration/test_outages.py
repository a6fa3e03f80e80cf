"""Redis away, frozen, restarted, full or emptied: the contract's answer in time, and then full recovery."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import uvloop

from app.sessions import Pipeline, RedisSessions, Session, StoreUnavailable
from app.sessions.identity import session_key, tag_of
from lab.testbed.hop import LossyHop
from lab.testbed.monitor import Monitor
from lab.testbed.servers import ClusterOfThree, Place, RedisServer, free_port, running
from tests.integration.conftest import MakeEngine
from tests.integration.loading import load

LIMIT = 0.4  # seconds that the engines here wait
SLACK = 0.4  # what a busy machine may add


@pytest.fixture(scope="module")
def breakable_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterOfThree]:
    """Takes two seconds to form, so these tests share it and mend what they broke."""
    for cluster in running(ClusterOfThree(tmp_path_factory.mktemp("breakable"))):
        assert isinstance(cluster, ClusterOfThree)
        yield cluster


@pytest.fixture(params=["single", "cluster"])
def breakable(request: pytest.FixtureRequest) -> Place:
    """A place that this test may break; what it freezes it thaws."""
    name = "server" if request.param == "single" else "breakable_cluster"
    place: Place = request.getfixturevalue(name)
    place.admin.flushall()
    return place


@pytest.fixture
def make(engine_at: MakeEngine, breakable: Place) -> Callable[[], RedisSessions]:
    return lambda: engine_at(breakable, timeout_seconds=LIMIT)


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Fails unless the block is over in time; it is not cut short."""
    began = time.monotonic()
    yield
    taken = time.monotonic() - began
    assert taken < seconds, f"{taken:.3f} s"


@contextmanager
def frozen(nodes: list[RedisServer]) -> Iterator[None]:
    """These processes do not run inside the block."""
    for node in nodes:
        node.freeze()
    try:
        yield
    finally:
        for node in nodes:
            node.thaw()
        for node in nodes:
            node.admin.ping()


async def refuses(store: RedisSessions, session: Session, *, may_have_happened: bool) -> None:
    """Each method says StoreUnavailable within the time limit, and whether it may have happened."""
    session["a"] = 1
    methods: list[Callable[[], object]] = [
        lambda: store.create("ann"),
        lambda: store.save(session),
        lambda: store.update(session, lambda s: s.update(b=1)),
        lambda: store.increment(session, "n", operation="x"),
        lambda: store.pop(session, "a"),
        lambda: store.destroy(session),
        lambda: store.devices("ann"),
        lambda: store.end_all("ann"),
        store.check,
    ]

    async def refused(method: Callable[[], object]) -> None:
        async with within(LIMIT + SLACK):
            with pytest.raises(StoreUnavailable) as caught:
                await method()  # type: ignore[misc]
        assert caught.value.may_have_happened is may_have_happened

    await asyncio.gather(*map(refused, methods))


async def test_refused(engine_at: MakeEngine, server: RedisServer) -> None:
    """Nobody listens: every method fails at once as not having happened, and works again afterwards."""
    store = engine_at(server, timeout_seconds=LIMIT)
    session = await load(store, await store.create("ann"))
    server.stop()
    with pytest.raises(StoreUnavailable):  # the connection breaks under this one
        await store.check()
    async with within(LIMIT):
        await refuses(store, session, may_have_happened=False)
    assert store.counters.errors == 10
    server.start()
    await load(store, await store.create("ann"))


async def test_never_there(engine_at: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An engine made before Redis is there says so, and works once Redis has come."""
    server = RedisServer(tmp_path_factory.mktemp("late"))
    store = engine_at(server, timeout_seconds=LIMIT)
    with pytest.raises(StoreUnavailable, match="no connection"):
        await store.check()
    for _ in running(server):
        await load(store, await store.create("ann"))


async def test_black_hole(breakable: Place, make: Callable[[], RedisSessions]) -> None:
    """Frozen, Redis accepts and says nothing: what was sent may have happened, and nothing more is sent."""
    store = make()
    session = await load(store, await store.create("ann"))
    session["seen"] = 1
    await store.save(session)
    await store.check()  # in a cluster this asks another node
    with frozen(breakable.nodes):
        await refuses(store, session, may_have_happened=True)
        await refuses(store, session, may_have_happened=False)  # no new connection comes about
    await load(store, await store.create("ann"))


async def test_frozen_writes_count_once(
    breakable: Place, make: Callable[[], RedisSessions]
) -> None:
    """Increments sent into a frozen server are applied at most once after it wakes up, never repeated."""
    store = make()
    session_id = await store.create("ann", {"n": 0})
    session = await load(store, session_id)
    with frozen([breakable.owner_of(_key(session))]):
        await asyncio.gather(*(_refused(store.increment(session, "n")) for _ in range(10)))
        for name in ("a", "b"):
            await _refused(store.increment(session, "n", operation=name))
    await asyncio.sleep(0.2)  # what is still in its buffers
    applied = (await load(store, session_id))["n"]
    assert 0 <= applied <= 12
    for name in "ab":  # the client repeats: counted once, whether the first try arrived or not
        await store.increment(session, "n", operation=name)
        again = await store.increment(session, "n", operation=name)
        assert again is not None
    total = (await load(store, session_id))["n"]
    assert total <= 12
    assert total >= 2


async def test_lost_answers(breakable: Place, make: Callable[[], RedisSessions]) -> None:
    """A connection that breaks after the server did the work: said so at once, and never done twice."""
    hops = [LossyHop(node.port) for node in breakable.nodes]
    ports = [await hop.start() for hop in hops]
    if isinstance(breakable, ClusterOfThree):  # the nodes tell clients to come through the hops
        breakable.announce(ports)
        pipeline = Pipeline(f"redis+cluster://127.0.0.1:{ports[0]}", timeout_seconds=5)
    else:
        pipeline = Pipeline(f"redis://127.0.0.1:{ports[0]}", timeout_seconds=5)
    try:
        store, direct = RedisSessions(pipeline), make()
        session_id = await store.create("ann", {"n": 0})
        session = await load(store, session_id)
        for done in range(1, 6):
            await load(store, session_id)  # a connection stands, and the scripts are known
            await store.increment(session, "m")
            for hop in hops:
                hop.losing = True
            async with within(1):
                with pytest.raises(StoreUnavailable) as caught:
                    await store.increment(session, "n")
            for hop in hops:
                hop.losing = False
            assert caught.value.may_have_happened
            assert (await load(direct, session_id)).get("n") == done
    finally:
        await pipeline.close()
        if isinstance(breakable, ClusterOfThree):
            breakable.announce([0, 0, 0])
        for hop in hops:
            await hop.stop()


async def test_answers_after_a_black_hole(
    breakable: Place, make: Callable[[], RedisSessions]
) -> None:
    """After a time-out nobody is given an answer that belongs to an earlier call."""
    store = make()
    ids = {user: await store.create(user) for user in ("ann", "bob", "carol", "dan", "eve")}
    with frozen(breakable.nodes):
        await asyncio.gather(*(_refused(store.load(session_id)) for session_id in ids.values()))
    for _ in range(5):
        sessions = await asyncio.gather(*(load(store, session_id) for session_id in ids.values()))
        assert [session.user for session in sessions] == list(ids)


async def test_one_node_frozen(breakable_cluster: ClusterOfThree, engine_at: MakeEngine) -> None:
    """With one node of a cluster frozen, users on the others are served."""
    store = engine_at(breakable_cluster, timeout_seconds=LIMIT)
    ids = {user: await store.create(user) for user in (f"user-{n}" for n in range(12))}
    sessions = {user: await load(store, session_id) for user, session_id in ids.items()}
    node = breakable_cluster.owner_of(_key(sessions["user-0"]))
    away = [u for u, s in sessions.items() if breakable_cluster.owner_of(_key(s)) is node]
    assert 0 < len(away) < len(ids)
    with frozen([node]):
        for user, session_id in ids.items():
            if user not in away:
                assert (await load(store, session_id)).user == user
        await asyncio.gather(*(_refused(store.load(ids[user])) for user in away))


async def test_restarted(engine_at: MakeEngine, server: RedisServer) -> None:
    """After a restart with an empty script cache the first calls work, many at once, on one connection."""
    store = engine_at(server, timeout_seconds=LIMIT)
    await store.create("ann")
    server.stop()
    await _refused(store.check())
    server.start()
    before = server.admin.info("stats")["total_connections_received"]
    ids = await asyncio.gather(*(store.create(f"user-{n}") for n in range(20)))
    sessions = await asyncio.gather(*(load(store, session_id) for session_id in ids))
    assert [session.user for session in sessions] == [f"user-{n}" for n in range(20)]
    assert server.admin.info("stats")["total_connections_received"] - before == 1


async def test_script_flush(breakable: Place, make: Callable[[], RedisSessions]) -> None:
    """When the scripts are forgotten, each call in flight still happens exactly once."""
    store = make()
    session_id = await store.create("ann")
    session = await load(store, session_id)
    for _ in range(5):
        for node in breakable.nodes:
            node.admin.script_flush()
        sums = await asyncio.gather(*(store.increment(session, "n") for _ in range(10)))
        assert len(set(sums)) == 10
    assert (await load(store, session_id))["n"] == 50


async def test_scripts_travel_once(server: RedisServer, engine_at: MakeEngine) -> None:
    """A script's text is sent to a server once; afterwards its name is enough."""
    store = engine_at(server)
    session = await load(store, await store.create("ann"))
    with Monitor(server) as asked:
        for n in range(5):
            session["n"] = n
            await store.save(session)
    assert [one.name for one in asked.calls] == ["EVALSHA", "EVAL"] + ["EVALSHA"] * 4


async def test_out_of_memory(breakable: Place, make: Callable[[], RedisSessions]) -> None:
    """A full Redis: reads and logouts go on, writes fail as not having happened, and come back with room."""
    store = make()
    session_id = await store.create("ann", {"flash": 1})
    other = await load(store, await store.create("ann"))
    _memory(breakable, "1")
    try:
        session = await load(store, session_id)
        session["a"] = 1
        writes = (
            store.save(session),
            store.increment(session, "n"),
            store.create("ann"),
        )
        for write in writes:
            with pytest.raises(StoreUnavailable) as caught:
                await write
            assert not caught.value.may_have_happened
        assert len(await store.devices("ann")) == 2
        assert await store.pop(session, "flash") == 1
        assert await store.destroy(other)
    finally:
        _memory(breakable, "0")
    assert await store.save(session)
    assert dict(await load(store, session_id)) == {"a": 1}


async def test_emptied(store: RedisSessions, place: Place) -> None:
    """After FLUSHALL everybody is anonymous, late writes are dropped, and logins work at once."""
    session_id = await store.create("ann", {"a": 1})
    session = await load(store, session_id)
    place.admin.flushall()
    session["a"] = 2
    assert not await store.save(session)
    assert await store.increment(session, "n") is None
    assert await store.load(session_id) is None
    assert await store.devices("ann") == []
    await load(store, await store.create("ann"))


async def test_loading_and_read_only(engine_at: MakeEngine, server: RedisServer) -> None:
    """A server that may not write (a replica after a failover) says so: writes fail, nothing happened."""
    store = engine_at(server)
    session = await load(store, await store.create("ann"))
    server.admin.replicaof("127.0.0.1", free_port())
    server.admin.config_set("replica-serve-stale-data", "yes")
    session["a"] = 1
    with pytest.raises(StoreUnavailable) as caught:
        await store.save(session)
    assert not caught.value.may_have_happened
    server.admin.replicaof("NO", "ONE")
    assert await store.save(session)


LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run])  # workers use uvloop


@LOOPS
@pytest.mark.parametrize(
    "reply", [b"", b"-ERR max number of clients reached\r\n", b"HTTP/1.1 400 x\r\n\r\n"]
)
def test_not_redis(
    run: Callable[..., None], reply: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What accepts and hangs up at once, or answers something else, is an outage in time, never a hang."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        await writer.drain()
        writer.close()

    async def ask() -> None:
        listener = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        for url in (f"redis://127.0.0.1:{port}", f"redis://:secret@127.0.0.1:{port}/3"):
            pipeline = Pipeline(url, timeout_seconds=LIMIT)
            store = RedisSessions(pipeline)
            for _ in range(3):
                async with within(LIMIT + SLACK), asyncio.timeout(2):
                    with pytest.raises(StoreUnavailable):
                        await store.check()
            await pipeline.close()
        listener.close()

    run(ask())
    assert caplog.records == []


@LOOPS
def test_a_busy_worker_is_no_outage(run: Callable[..., None], server: RedisServer) -> None:
    """A worker held up for longer than the time limit still takes the answer that waits for it."""

    async def be_busy() -> None:
        pipeline = Pipeline(server.url, timeout_seconds=LIMIT)
        store = RedisSessions(pipeline)
        session_id = await store.create("ann")
        waiting = asyncio.ensure_future(store.load(session_id))
        for _ in range(3):
            await asyncio.sleep(0)  # until it is sent
        time.sleep(2 * LIMIT)  # noqa: ASYNC251 - blocking is what this is about
        assert await waiting is not None
        await pipeline.close()

    run(be_busy())


async def test_address_that_swallows(engine_at: MakeEngine) -> None:
    """A full listen queue, where no connection comes about, is given up in time: nothing happened."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fill = [socket.socket() for _ in range(4)]
        for one in fill:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        pipeline = Pipeline(f"redis://127.0.0.1:{port}", timeout_seconds=LIMIT)
        async with within(LIMIT + SLACK):
            with pytest.raises(StoreUnavailable, match="no connection") as caught:
                await RedisSessions(pipeline).check()
        assert not caught.value.may_have_happened
        await pipeline.close()
        for one in fill:
            one.close()


async def test_password_and_database(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The URL's password and database are used; a wrong password is an outage that names it."""
    server = RedisServer(tmp_path_factory.mktemp("secret"))
    for _ in running(server):
        server.admin.config_set("requirepass", "s3cret")
        for password, right in (("s3cret", True), ("wrong", False)):
            pipeline = Pipeline(
                f"redis://:{password}@127.0.0.1:{server.port}/5", timeout_seconds=LIMIT
            )
            store = RedisSessions(pipeline)
            if right:
                await load(store, await store.create("ann"))
            else:
                with pytest.raises(StoreUnavailable, match="WRONGPASS") as caught:
                    await store.check()
                assert not caught.value.may_have_happened
            await pipeline.close()
        server.admin.execute_command("AUTH", "s3cret")
        assert server.admin.info("keyspace").keys() == {"db5"}


def _key(session: Session) -> str:
    return session_key(tag_of(session.user), session.digest)


def _memory(place: Place, size: str) -> None:
    for node in place.nodes:
        node.admin.config_set("maxmemory-policy", "noeviction")
        node.admin.config_set("maxmemory", size)


async def _refused(call: object) -> None:
    with pytest.raises(StoreUnavailable):
        await call  # type: ignore[misc]
