"""One server, reached through a name or an address that may lead elsewhere: the connection follows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.sessions import Pipeline, RedisSessions, StoreUnavailable, Subscription
from lab.testbed.hop import LossyHop
from lab.testbed.servers import RedisServer, running
from tests.integration.conftest import MakeEngine
from tests.integration.loading import load

LIMIT = 0.5


async def refused(call: object) -> str:
    """The reason for which a call that did not happen was refused."""
    with pytest.raises(StoreUnavailable) as caught:
        await call  # type: ignore[misc]
    assert not caught.value.may_have_happened, caught.value
    return str(caught.value)


def connections(server: RedisServer) -> int:
    """How many there have been so far."""
    return int(server.admin.info("stats")["total_connections_received"])


async def test_failover_behind_an_address(tmp_path: Path, server: RedisServer) -> None:
    """Behind an address that moves to the new master, one batch is refused and the next one served."""
    for other in running(RedisServer(tmp_path / "other")):
        assert isinstance(other, RedisServer)
        hop = LossyHop(server.port)
        pipeline = Pipeline(f"redis://127.0.0.1:{await hop.start()}", timeout_seconds=LIMIT)
        store = RedisSessions(pipeline)
        session_id = await store.create("ann")
        other.follow(server)
        other.admin.replicaof("NO", "ONE")
        server.admin.replicaof("127.0.0.1", other.port)
        hop.lead_to(other.port)
        assert "READONLY" in await refused(store.create("ann"))
        session = await load(store, session_id)
        assert await store.increment(session, "n") == 1
        assert other.admin.dbsize() == 2
        await pipeline.close()
        await hop.stop()


async def test_replica_is_refused(server: RedisServer, engine: MakeEngine) -> None:
    """A server that is no master is refused when the connection is made, ten times a second at most."""
    server.admin.replicaof("127.0.0.1", 1)
    before = connections(server)
    store = engine()
    began = asyncio.get_running_loop().time()
    for _ in range(5):
        await asyncio.gather(*(refused(store.check()) for _ in range(20)))
    assert "not a master" in await refused(store.check())
    taken = asyncio.get_running_loop().time() - began
    assert connections(server) - before <= 1 + taken / 0.1
    server.admin.replicaof("NO", "ONE")
    await store.create("ann")


async def test_loading_that_lasts(tmp_path: Path, engine_at: MakeEngine) -> None:
    """While a server loads its data every call fails as not having happened; afterwards all is served."""
    options = ("--dbfilename", "dump.rdb", "--loading-process-events-interval-bytes", "1024")
    server = RedisServer(tmp_path, *options, "--key-load-delay", "1000")
    for _ in running(server):
        for number in range(3000):
            server.admin.set(f"filler:{number}", "x" * 100)
        server.admin.save()
        store = engine_at(server, timeout_seconds=LIMIT)
        await store.check()
        server.stop()
        process = asyncio.create_task(asyncio.to_thread(server.start))
        reasons = set()
        while not process.done():
            try:
                await store.check()
            except StoreUnavailable as error:
                reasons.add(str(error).split(" ")[0])
            await asyncio.sleep(0.02)
        await process
        assert "LOADING" in reasons
        await load(store, await store.create("ann"))


async def test_keepalive(server: RedisServer, engine: MakeEngine) -> None:
    """The kernel probes both idle connections, so nothing on the way forgets them silently."""
    store, subscription = engine(), Subscription(server.url, timeout_seconds=LIMIT)
    await store.check()
    listening = asyncio.create_task(subscription.run(_Nobody()))
    subscription.subscribe("news")
    async with asyncio.timeout(5):
        while not subscription.is_active:
            await asyncio.sleep(0.01)
    own = {int(client["addr"].rpartition(":")[2]) for client in server.admin.client_list()}
    admin = server.admin.client_info()["addr"]
    own.discard(int(admin.rpartition(":")[2]))
    timers = {port: timer for port, timer in _timers(server.port) if port in own}
    assert len(timers) == 2
    assert set(timers.values()) == {"02"}
    listening.cancel()


def _timers(to_port: int) -> list[tuple[int, str]]:
    """Of each connection to `to_port`: its own port, and which timer runs; 02 is keepalive."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = [(row[1].split(":"), row[2].split(":"), row[5].split(":")[0]) for row in rows]
    return [(int(own[1], 16), timer) for own, to, timer in ends if int(to[1], 16) == to_port]


class _Nobody:
    def subscribed(self, channel: str) -> None:
        pass

    def received(self, channel: str, message: bytes) -> None:
        pass


async def test_rights_are_missing(server: RedisServer, engine: MakeEngine) -> None:
    """What the user may not do is refused before anything happens, and the error names it."""
    store = engine()
    await store.create("ann")
    server.admin.execute_command("ACL SETUSER default -evalsha -eval")
    assert "NOPERM" in await refused(store.create("ann"))
    server.admin.execute_command("ACL SETUSER default +@all")
    server.admin.config_set("requirepass", "secret")
    server.admin.execute_command("AUTH", "secret")
    assert "NOAUTH" in await refused(engine().create("ann"))


async def test_name_that_nobody_knows() -> None:
    """A name that cannot be looked up is an outage in time."""
    pipeline = Pipeline("redis://no-such-host.invalid", timeout_seconds=LIMIT)
    assert "no connection" in await refused(RedisSessions(pipeline).check())
    await pipeline.close()


@pytest.mark.parametrize("calls", [1, 3])
async def test_unknown_script_and_an_unasked_answer(calls: int) -> None:
    """NOSCRIPT, and in the same piece an answer that nobody asked for: every call is settled, at once."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"ROLE\r\n")
        writer.write(b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n")
        await reader.read(1)
        writer.write(b"-NOSCRIPT No matching script\r\n" * calls + b":1\r\n")
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    pipeline = Pipeline(f"redis://127.0.0.1:{port}", timeout_seconds=LIMIT)
    store = RedisSessions(pipeline)
    async with asyncio.timeout(LIMIT / 2):
        await asyncio.gather(*(refused(store.check()) for _ in range(calls)))
    await pipeline.close()
    listener.close()
