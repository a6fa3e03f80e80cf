"""Real servers and real workers for the tests of this folder, each ended by the fixture that began it.

`place` is where sessions live: every test that asks for it runs against one server and a cluster.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.sessions import Limits, Pipeline, RedisSessions
from app.sessions.memory import Memory, MemorySessions
from lab.testbed.servers import ClusterOfThree, Place, RedisServer, running
from lab.testbed.workers import Worker
from tests.integration.least_user import as_least_user
from tests.integration.visitor import Visitor

MakeEngine = Callable[..., RedisSessions]
StartWorkers = Callable[..., list[Worker]]
Engines = Callable[..., list[RedisSessions]]
NewVisitor = Callable[[], Visitor]


@pytest.fixture(scope="session")
def shared_single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    yield from as_least_user(RedisServer(tmp_path_factory.mktemp("single")))


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    yield from as_least_user(ClusterOfThree(tmp_path_factory.mktemp("cluster")))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of the engine that look into Redis run on one server and a cluster, others in memory too."""
    chosen = any(
        "place" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")
    )
    if "place" in metafunc.fixturenames and not chosen:
        known = metafunc.definition._fixtureinfo
        users = {
            name for name, found in known.name2fixturedefs.items() if "place" in found[-1].argnames
        }
        looks = "place" in known.argnames or users != {"engines"}
        kinds = ["single", "cluster", *([] if looks else ["memory"])]
        metafunc.parametrize("place", kinds, indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place | Memory:
    """An empty store that the tests share, each in its turn; nobody stops or freezes this one."""
    if request.param == "memory":
        return Memory()
    place: Place = request.getfixturevalue(f"shared_{request.param}")
    place.admin.flushall()
    return place


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of this test's own, to break."""
    for server in running(RedisServer(tmp_path / "redis")):
        assert isinstance(server, RedisServer)
        yield server


@pytest.fixture
async def engine_at() -> AsyncIterator[MakeEngine]:
    """Makes engines at a place; each has a connection of its own, as each worker has.

    Keyword arguments are fields of Limits, and `timeout_seconds`.
    """
    pipelines: list[Pipeline] = []

    def make(place: Place | Memory, *, timeout_seconds: float = 5, **limits: Any) -> RedisSessions:
        if isinstance(place, Memory):
            return MemorySessions(Limits(**limits), memory=place)
        pipelines.append(Pipeline(place.url, timeout_seconds=timeout_seconds))
        return RedisSessions(pipelines[-1], Limits(**limits))

    yield make
    for pipeline in pipelines:
        await pipeline.close()


@pytest.fixture
def engines(engine_at: MakeEngine, place: Place) -> Engines:
    """Makes several engines that share `place`, as on several workers."""

    def make(count: int = 2, **limits: Any) -> list[RedisSessions]:
        return [engine_at(place, **limits) for _ in range(count)]

    return make


@pytest.fixture
def store(engines: Engines) -> RedisSessions:
    """One engine at `place`, with the limits a stranger starts with."""
    return engines(1)[0]


@pytest.fixture
def engine(engine_at: MakeEngine, server: RedisServer) -> MakeEngine:
    """Makes engines at `server`, which may be broken; they give up after half a second."""

    def make(*, timeout_seconds: float = 0.5, **limits: Any) -> RedisSessions:
        return engine_at(server, timeout_seconds=timeout_seconds, **limits)

    return make


@pytest.fixture(scope="session")
def workers(
    shared_single: Place, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Worker]]:
    """Two workers with the settings a stranger starts with, shared by tests that break nothing."""
    with ExitStack() as started:
        both = [
            _started(started, tmp_path_factory.mktemp("worker"), shared_single.url)
            for _ in range(2)
        ]
        for worker in both:
            worker.wait_ready()
        yield both
    assert [line for worker in both for line in worker.unexpected()] == []


@pytest.fixture
def start_workers(tmp_path: Path) -> Iterator[StartWorkers]:
    """Starts workers of this test's own; keyword arguments are settings.  No log may hold a trace."""
    all_workers: list[Worker] = []
    with ExitStack() as started:

        def start(
            redis_url: str, count: int = 1, *, ready: bool = True, **settings: str
        ) -> list[Worker]:
            fresh = [_started(started, tmp_path, redis_url, **settings) for _ in range(count)]
            all_workers.extend(fresh)
            for worker in fresh:
                worker.wait_ready() if ready else worker.wait_live()
            return fresh

        yield start
    assert [line for worker in all_workers for line in worker.unexpected()] == []


def _started(stack: ExitStack, folder: Path, redis_url: str, **settings: str) -> Worker:
    worker = Worker(folder, redis_url, **settings)
    stack.callback(worker.stop)
    worker.start()
    return worker


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A client that keeps no cookie by itself: visitors send theirs by hand."""
    no_jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(
        trust_env=False, timeout=10, limits=limits, cookies=no_jar
    ) as client:
        yield client


@pytest.fixture
def new_visitor(http: httpx.AsyncClient) -> NewVisitor:
    return lambda: Visitor(http)


@pytest.fixture
async def visitor(workers: list[Worker], new_visitor: NewVisitor) -> Visitor:
    """Logged in by the first of the shared workers."""
    return await new_visitor().logged_in(workers[0])
