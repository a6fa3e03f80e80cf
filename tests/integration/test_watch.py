"""Watching a session through the engine: on one server and on a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from app.sessions import Notices, Pipeline, RedisSessions, Subscription, Watch
from lab.testbed.servers import ClusterOfThree, Place, running
from tests.integration.conftest import Engines
from tests.integration.loading import load

MakeNotices = Callable[..., Notices]


class Watcher:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.watch: Watch | None = None
        self.told: list[Any] = []
        self.beats: list[float] = []  # the event loop's clock

    def changed(self, version: int, value: Any, ends_in: float | None) -> None:
        self.told.append((version, value))

    def ended(self, reason: str) -> None:
        self.told.append(reason)

    def beat(self) -> None:
        self.beats.append(asyncio.get_running_loop().time())

    async def until(self, last: Any, seconds: float = 2) -> None:
        async with asyncio.timeout(seconds):
            while self.told[-1:] != [last]:
                await asyncio.sleep(0.01)


@pytest.fixture
async def notices_at() -> AsyncIterator[MakeNotices]:
    """Makes notices at a place, as each worker has."""
    tasks: list[asyncio.Task[None]] = []
    pipelines: list[Pipeline] = []

    def make(place: Place, heartbeat_seconds: float = 60) -> Notices:
        pipelines.append(Pipeline(place.url, timeout_seconds=2))
        subscription = Subscription(place.url, timeout_seconds=2)
        notices = Notices(
            pipelines[-1], subscription, field="n", heartbeat_seconds=heartbeat_seconds
        )
        tasks.append(asyncio.create_task(notices.run()))
        return notices

    yield make
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for pipeline in pipelines:
        await pipeline.close()


async def test_every_write_is_told(engines: Engines, place: Place, notices_at: MakeNotices) -> None:
    """Increments, saves, removals and the end of a session are told in their order, to every process."""
    (store,) = engines(1)
    session = await load(store, await store.create("ann"))
    watchers = [Watcher(), Watcher()]
    for watcher in watchers:
        notices_at(place).watch(session, 0, watcher)
    await asyncio.sleep(0.3)
    assert await store.increment(session, "n", 5) == 5
    session["flash"] = "x"
    assert await store.save(session)
    assert await store.pop(session, "flash") == "x"
    assert await store.increment(session, "other") == 1
    session["n"] = 7
    assert await store.save(session)
    for watcher in watchers:
        await watcher.until((6, 7))
        assert (2, 5) in watcher.told
        assert watcher.told == sorted(watcher.told)
    assert await store.destroy(session)
    for watcher in watchers:
        await watcher.until("logout")


async def test_what_ended_before_is_told(
    engines: Engines, place: Place, notices_at: MakeNotices
) -> None:
    """A session that changed or ended between being loaded and being watched is told all the same."""
    (store,) = engines(1)
    session_id = await store.create("ann")
    changed = await load(store, session_id)
    ended = await load(store, await store.create("bob"))
    stale = await load(store, await store.create("bob"))
    await store.increment(await load(store, session_id), "n")
    await store.destroy(ended)
    notices, seen, gone, left = notices_at(place), Watcher(), Watcher(), Watcher()
    notices.watch(changed, 0, seen)
    notices.watch(ended, 0, gone)
    notices.watch(stale, 0, left)
    notices.unwatch(left)
    await seen.until((2, 1))
    await gone.until("ended")
    assert left.told == []


async def test_an_ended_session_is_silent(
    engines: Engines, place: Place, notices_at: MakeNotices
) -> None:
    """A live session speaks to every process that hears the channel, one that has ended to nobody."""
    (store,) = engines(1)
    heard: list[bytes] = []
    both = [notices_at(place), notices_at(place)]
    for notices in both:
        notices.subscribe("alerts", heard.append, lambda: None)
    await asyncio.sleep(0.3)
    session = await load(store, await store.create("ann"))
    assert await both[0].publish(session, "alerts", "hello")
    async with asyncio.timeout(2):
        while len(heard) < 2:
            await asyncio.sleep(0.01)
    await store.destroy(session)
    assert not await both[0].publish(session, "alerts", "too late")
    await asyncio.sleep(0.1)
    assert heard == [b"hello", b"hello"]


async def test_a_node_dies(
    tmp_path: Path, engine_at: Callable[..., RedisSessions], notices_at: MakeNotices
) -> None:
    """When the cluster's node that a process listens to dies, it listens to another one."""
    for cluster in running(ClusterOfThree(tmp_path)):
        notices, heard = notices_at(cluster), list[bytes]()
        notices.subscribe("news", heard.append, lambda: None)
        async with asyncio.timeout(5):
            while not notices.subscribed_now:
                await asyncio.sleep(0.01)
        (node,) = [node for node in cluster.nodes if node.admin.client_list(_type="pubsub")]
        node.stop()
        others = [other for other in cluster.nodes if other is not node]
        async with asyncio.timeout(10):
            while not heard:
                others[0].admin.publish("news", "still here")
                await asyncio.sleep(0.05)
        assert any(other.admin.client_list(_type="pubsub") for other in others)


async def test_heartbeats_are_spread(
    engines: Engines, place: Place, notices_at: MakeNotices
) -> None:
    """Sessions that are watched from the same moment on do not beat at the same moment."""
    (store,) = engines(1)
    sessions = [await load(store, await store.create(f"user{n}")) for n in range(30)]
    notices, watchers = notices_at(place, heartbeat_seconds=1), [Watcher() for _ in sessions]
    for session, watcher in zip(sessions, watchers, strict=True):
        notices.watch(session, 0, watcher)
    async with asyncio.timeout(5):
        while not all(watcher.beats for watcher in watchers):
            await asyncio.sleep(0.01)
    first = [watcher.beats[0] for watcher in watchers]
    assert max(first) - min(first) > 0.2
    for watcher in watchers:
        notices.unwatch(watcher)
