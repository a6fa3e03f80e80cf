"""A master that Sentinels watch: it is found, followed when it moves, and what was acknowledged is kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from app.sessions import Pipeline, RedisSessions, Session, StoreUnavailable, Subscription
from lab.testbed.replicated import Replicated
from lab.testbed.servers import RedisServer, wait_until
from lab.testbed.workers import Worker
from tests.integration.listening import Stream
from tests.integration.loading import load
from tests.integration.visitor import Visitor

LIMIT = 0.5
FROZEN_SECONDS = 15.0  # longer than the Sentinels take
BACK_SECONDS = 1.0  # after Sentinels have named the new master

MakeAt = Callable[..., RedisSessions]


@pytest.fixture
def replicated(tmp_path: Path) -> Iterator[Replicated]:
    replicated = Replicated(tmp_path)
    try:
        replicated.start()
        yield replicated
    finally:
        replicated.stop()


@pytest.fixture
async def make(replicated: Replicated) -> AsyncIterator[MakeAt]:
    pipelines: list[Pipeline] = []

    def make(url: str = "", acknowledged_by: int = 0) -> RedisSessions:
        pipelines.append(
            Pipeline(url or replicated.url, timeout_seconds=LIMIT, acknowledged_by=acknowledged_by)
        )
        return RedisSessions(pipelines[-1])

    yield make
    for pipeline in pipelines:
        await pipeline.close()


class Writer:
    """Counts one session up, again and again; each acknowledged number is kept with its moment."""

    def __init__(self, store: RedisSessions, session: Session) -> None:
        self.acknowledged: list[tuple[float, int]] = []
        self.refusals: list[StoreUnavailable] = []
        self._store, self.session = store, session
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            try:
                number = await self._store.increment(self.session, "n")
                assert number is not None, "the session has ended"
                self.acknowledged.append((time.monotonic(), number))
            except StoreUnavailable as error:
                self.refusals.append(error)
            await asyncio.sleep(0.01)

    async def served_after(self, moment: float) -> float:
        """How long after `moment` a write was acknowledged."""
        async with asyncio.timeout(10):
            while not self.acknowledged or self.acknowledged[-1][0] < moment:
                await asyncio.sleep(0.01)
        return next(at for at, _ in self.acknowledged if at >= moment) - moment

    async def stop(self) -> int:
        """The highest number that was acknowledged."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return max(number for _, number in self.acknowledged)


async def until_refused(store: RedisSessions, session_id: str) -> None:
    try:
        while True:
            await store.load(session_id)
            await asyncio.sleep(0.02)
    except StoreUnavailable:
        return


async def until_served(call: Callable[[], Awaitable[Session | None]]) -> Session | None:
    """What `call` answers, as soon as it does."""
    while True:
        try:
            return await call()
        except StoreUnavailable:
            await asyncio.sleep(0.02)


async def in_thread(fact: Callable[[], bool], seconds: float = 15) -> None:
    await asyncio.to_thread(wait_until, fact, seconds=seconds, what="Sentinels that agree")


async def test_killed_master(replicated: Replicated, make: MakeAt) -> None:
    """A killed master: served within a second of the promotion, and no acknowledged write is lost."""
    store = make(acknowledged_by=1)
    writer = Writer(store, await load(store, await store.create("ann")))
    await asyncio.sleep(0.3)
    old = replicated.master
    old.stop()
    await in_thread(lambda: replicated.master is not old)
    assert await writer.served_after(time.monotonic()) < BACK_SECONDS
    highest = await writer.stop()
    assert await store.increment(writer.session, "n") > highest


@pytest.mark.parametrize("acknowledged_by", [0, 1])
async def test_planned_failover(replicated: Replicated, make: MakeAt, acknowledged_by: int) -> None:
    """A planned failover is followed without an error from the old master, which stays up, and loses nothing."""
    store = make(acknowledged_by=acknowledged_by)
    writer = Writer(store, await load(store, await store.create("ann")))
    await asyncio.sleep(0.3)
    old = replicated.master
    replicated.fail_over()
    await in_thread(lambda: replicated.master is not old)
    assert await writer.served_after(time.monotonic()) < BACK_SECONDS
    highest = await writer.stop()
    assert [e for e in writer.refusals if "READONLY" in str(e) or "UNBLOCKED" in str(e)] == []
    assert await store.increment(writer.session, "n") == highest + 1


async def test_any_sentinel_may_be_down(replicated: Replicated, make: MakeAt) -> None:
    """With any one of three Sentinels gone a new worker finds the master, and one that runs goes on."""
    running_store = make()
    for sentinel in replicated.sentinels:
        sentinel.stop()
        for store in (make(), make(acknowledged_by=1), running_store):
            await store.create("ann")
        sentinel.start()


async def test_majority_of_sentinels(replicated: Replicated, make: MakeAt) -> None:
    """Without a majority of Sentinels, who promises acknowledgement serves nobody; who does not goes on."""
    promising, plain = make(acknowledged_by=1), make()
    session_id = await promising.create("ann")
    await load(plain, session_id)
    for sentinel in replicated.sentinels[:2]:
        sentinel.freeze()
    async with asyncio.timeout(2):  # before they could have promoted a replica
        await until_refused(promising, session_id)
    await load(plain, session_id)
    for sentinel in replicated.sentinels[:2]:
        sentinel.thaw()
    async with asyncio.timeout(5):
        await until_served(lambda: promising.load(session_id))


async def test_newest_configuration_counts(replicated: Replicated, make: MakeAt) -> None:
    """A Sentinel that slept through a failover and still names the old master is outvoted."""
    asleep, old = replicated.sentinels[0], replicated.master
    session_id = await make().create("ann")
    asleep.freeze()
    replicated.sentinels[1].admin.sentinel_failover("mymaster")
    await in_thread(lambda: replicated.sentinels[1].named != old.port)
    old.freeze()  # so that the Sentinel that wakes up is told nothing through it
    asleep.thaw()
    store = make()
    for _ in range(3):
        await load(store, session_id)
    old.thaw()


@pytest.mark.long
async def test_replica_is_not_taken_for_the_master(tmp_path: Path) -> None:
    """When Sentinels name a server that has become a replica, nothing is written there."""
    replicated, other = Replicated(tmp_path, replicas=0), RedisServer(tmp_path / "other")
    try:
        replicated.start()
        other.start()
        replicated.master.follow(other)
        pipeline = Pipeline(replicated.url, timeout_seconds=LIMIT)
        with pytest.raises(StoreUnavailable, match="not a master") as caught:
            await RedisSessions(pipeline).create("ann")
        assert not caught.value.may_have_happened
        await pipeline.close()
    finally:
        other.stop()
        replicated.stop()


async def test_paused_master_comes_back(replicated: Replicated, make: MakeAt) -> None:
    """A master that stood still and wakes up as a stale one is not written to again, and nobody reads from it."""
    store = make(acknowledged_by=1)
    session = await load(store, await store.create("ann"))
    ended = await store.create("bob")
    old = replicated.master
    old.freeze()
    await in_thread(lambda: replicated.master is not old)
    async with asyncio.timeout(3):
        bob = await until_served(lambda: store.load(ended))
    assert bob is not None
    assert await store.destroy(bob)
    old.thaw()
    for _ in range(50):
        assert await store.load(ended) is None
        assert await store.increment(session, "n") is not None
        await asyncio.sleep(0.02)
    assert old.admin.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0) < 10


async def test_connection_begun_before_a_failover(replicated: Replicated) -> None:
    """Who was connecting to a master that stood still reaches the new one, not the stale one that wakes up."""
    old = replicated.master
    old.freeze()
    # Both connections are taken by the kernel, and wait there.
    subscription = Subscription(replicated.url, timeout_seconds=FROZEN_SECONDS)
    subscription.subscribe("news")
    pipeline = Pipeline(replicated.url, timeout_seconds=FROZEN_SECONDS)
    tasks = [
        asyncio.create_task(RedisSessions(pipeline).create("ann")),
        asyncio.create_task(subscription.run(Deaf())),
    ]
    await in_thread(lambda: replicated.master is not old)
    old.thaw()
    async with asyncio.timeout(FROZEN_SECONDS):
        await tasks[0]
        while replicated.master.admin.pubsub_numsub("news") != [(b"news", 1)]:
            await asyncio.sleep(0.02)
    assert "cmdstat_evalsha" not in old.admin.info("commandstats")
    assert old.admin.pubsub_numsub("news") == [(b"news", 0)]
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await pipeline.close()


class Deaf:
    def subscribed(self, channel: str) -> None:
        pass

    def received(self, channel: str, message: bytes) -> None:
        pass


@pytest.mark.long
async def test_subscription_follows(replicated: Replicated) -> None:
    """Who hears messages hears them from the new master, too, after a planned failover and after a kill."""
    heard: list[bytes] = []

    class Listener:
        def subscribed(self, channel: str) -> None:
            pass

        def received(self, channel: str, message: bytes) -> None:
            heard.append(message)

    subscription = Subscription(replicated.url, timeout_seconds=LIMIT)
    subscription.subscribe("news")
    listening = asyncio.create_task(subscription.run(Listener()))

    async def hears(server: RedisServer) -> None:
        heard.clear()
        async with asyncio.timeout(5):
            while server.admin.pubsub_numsub("news") != [(b"news", 1)]:
                await asyncio.sleep(0.05)
            server.admin.publish("news", "hello")
            while not heard:
                await asyncio.sleep(0.01)

    await hears(replicated.master)
    old = replicated.master
    replicated.fail_over()
    await in_thread(lambda: replicated.master is not old)
    await hears(replicated.master)
    await in_thread(replicated.whole, seconds=30)
    old = replicated.master
    old.stop()
    await in_thread(lambda: replicated.master is not old)
    await hears(replicated.master)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_streams_stay_open(
    replicated: Replicated,
    start_workers: Callable[..., list[Worker]],
    new_visitor: Callable[[], Visitor],
) -> None:
    """An event stream outlives a failover: it says that others are not heard, then that they are, and a logout ends it."""
    (worker,) = await asyncio.to_thread(start_workers, replicated.url)
    visitor = await new_visitor().logged_in(worker)
    async with Stream(visitor, worker) as stream:
        replicated.fail_over()
        await stream.until(lambda: len(stream.named("hello")) == 3, 15)
        assert [hello["subscribed"] for hello in stream.named("hello")] == [True, False, True]
        await visitor.post(worker, "/logout")
        assert await stream.over(5) == "logout"
