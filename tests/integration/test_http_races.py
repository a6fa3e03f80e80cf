"""Races of real requests: each of two workers serves its share of one visitor's session."""

from __future__ import annotations

import asyncio
import uuid

import httpx
import pytest

from lab.testbed.servers import Place
from lab.testbed.workers import Worker
from tests.integration.conftest import NewVisitor, StartWorkers
from tests.integration.visitor import Visitor, new_cookie


@pytest.mark.long
async def test_writers_of_different_keys(workers: list[Worker], new_visitor: NewVisitor) -> None:
    """Twenty parallel writers of different keys through two workers: all twenty present, 50 rounds."""
    visitor = await new_visitor().logged_in(workers[0])
    for round_ in range(50):
        answers = await asyncio.gather(
            *(visitor.put(workers[n % 2], f"k{n}", round_) for n in range(20))
        )
        assert {answer.status_code for answer in answers} == {200}
        if round_ % 10 == 9:
            kept = await asyncio.gather(*(visitor.data(workers[n % 2], f"k{n}") for n in range(20)))
            assert kept == [round_] * 20
        else:  # the version counts every write that was kept
            version = (await visitor.get(workers[1], "/api/session")).json()["version"]
            assert version == 1 + 20 * (round_ + 1)


async def test_increments(workers: list[Worker], new_visitor: NewVisitor) -> None:
    """Twenty parallel visits raise the counter by exactly twenty, each told another number."""
    visitor = await new_visitor().logged_in(workers[0])
    answers = await asyncio.gather(*(_visit(visitor, workers[n % 2]) for n in range(20)))
    assert sorted(answer.json()["visits"] for answer in answers) == list(range(1, 21))
    assert (await visitor.get(workers[1], "/api/session")).json()["visits"] == 20


async def test_repeated_operations(workers: list[Worker], new_visitor: NewVisitor) -> None:
    """The same operation sent ten times to both workers at once is counted once and answered alike."""
    visitor = await new_visitor().logged_in(workers[0])
    for expected in (1, 2, 3):
        operation = uuid.uuid4().hex
        answers = await asyncio.gather(
            *(_visit(visitor, workers[n % 2], operation) for n in range(10))
        )
        assert {answer.json()["visits"] for answer in answers} == {expected}


async def test_additions(workers: list[Worker], new_visitor: NewVisitor) -> None:
    """Of parallel read-modify-writes every acknowledged one is in the sum; a refused one says 409."""
    visitor = await new_visitor().logged_in(workers[0])
    refused = 0

    async def add(worker: Worker) -> None:
        nonlocal refused
        while (
            answer := await visitor.post(worker, "/api/data/sum/add", json={"by": 1})
        ).status_code == 409:
            refused += 1
        assert answer.status_code == 200

    await asyncio.gather(*(add(workers[n % 2]) for n in range(40)))
    assert await visitor.data(workers[0], "sum") == 40


async def test_deletes_stay(workers: list[Worker], new_visitor: NewVisitor) -> None:
    """A deleted key stays deleted although a slow request that had read it writes another afterwards."""
    visitor = await new_visitor().logged_in(workers[0])
    await visitor.put(workers[0], "cart", [1])
    slow = asyncio.create_task(visitor.get(workers[0], "/slow?ms=200&write=late"))
    await asyncio.sleep(0.1)
    assert (await visitor.ask(workers[1], "DELETE", "/api/data/cart")).status_code == 204
    assert (await slow).json()["saved"] is True
    assert await visitor.data(workers[0], "cart") is None
    assert await visitor.data(workers[1], "late") is not None


@pytest.mark.parametrize(
    "way",
    [
        "/logout",
        pytest.param("/devices/end-all", marks=pytest.mark.long),
        pytest.param("/login", marks=pytest.mark.long),
    ],
)
async def test_late_write_after_the_end(
    workers: list[Worker], new_visitor: NewVisitor, way: str
) -> None:
    """A slow request that writes after a logout, an end of all or a new login revives nothing, 40 rounds."""

    async def end(visitor: Visitor) -> None:
        form = {"username": visitor.user, "password": "demo"}
        ended = await visitor.post(workers[1], way, data=form if way == "/login" else None)
        assert ended.status_code == 302

    async def stays_ended(visitor: Visitor) -> None:
        for worker in workers:
            assert not await visitor.knows_me(worker)
            assert (await visitor.put(worker, "k", 1)).status_code == 401

    for _ in range(2):
        visitors = [new_visitor() for _ in range(20)]
        await asyncio.gather(*(visitor.log_in(workers[0]) for visitor in visitors))
        slow = [
            asyncio.create_task(visitor.get(workers[0], "/slow?ms=2500&write=late"))
            for visitor in visitors
        ]
        await until_in_flight(workers[0], len(visitors))
        await asyncio.gather(*(end(visitor) for visitor in visitors))
        for late in await asyncio.gather(*slow):
            assert late.status_code == 200  # the answer stands, the write is dropped
            assert late.json()["saved"] is False
            assert "Set-Cookie" not in late.headers
        await asyncio.gather(*(stays_ended(visitor) for visitor in visitors))


async def until_in_flight(worker: Worker, count: int) -> None:
    """Return when so many requests have arrived at `worker` and wait there."""
    deadline = asyncio.get_running_loop().time() + 10
    # In a thread: the requests leave through this loop, which asking would hold up.
    while (there := await asyncio.to_thread(worker.in_flight)) < count:
        assert asyncio.get_running_loop().time() < deadline, f"{there} of {count}"
        await asyncio.sleep(0.02)


async def test_late_write_after_expiry(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """A slow request that writes after its session has expired revives nothing, in 40 rounds."""
    settings = {"SESSION_IDLE_SECONDS": "1"}
    workers = start_workers(shared_single.url, 2, **settings)

    async def round_() -> None:
        visitor = await new_visitor().logged_in(workers[0])
        late = await visitor.get(workers[0], "/slow?ms=1300&write=late")
        if late.status_code == 401:  # a busy machine took a second before it began: once more
            await round_()
            return
        assert late.json()["saved"] is False
        assert not await visitor.knows_me(workers[0])
        assert not await visitor.knows_me(workers[1])

    for _ in range(2):
        await asyncio.gather(*(round_() for _ in range(20)))
    assert workers[0].metric("session_gone_total") == 40


async def test_in_use_on_another_worker(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """Requests to one worker keep the session alive for the other, well past the idle timeout."""
    workers = start_workers(shared_single.url, 2, SESSION_IDLE_SECONDS="1")
    visitor = await new_visitor().logged_in(workers[0])
    for _ in range(5):
        await asyncio.sleep(0.4)
        assert await visitor.knows_me(workers[1])
    assert await visitor.knows_me(workers[0])
    await asyncio.sleep(1.2)
    assert not await visitor.knows_me(workers[1])


async def test_timed_renewal(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """Ten parallel requests across a renewal: all succeed and get one new id, old writes land, old id dies."""
    settings = {"SESSION_RENEW_SECONDS": "1.2", "SESSION_RENEW_GRACE_SECONDS": "1"}
    workers = start_workers(shared_single.url, 2, **settings)
    visitor = await new_visitor().logged_in(workers[0])
    slow = asyncio.create_task(visitor.get(workers[1], "/slow?ms=1500&write=slow"))
    await asyncio.sleep(1.25)
    answers = await asyncio.gather(*(visitor.put(workers[n % 2], f"k{n}", n) for n in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    new = list(map(new_cookie, answers))
    assert None not in new
    assert (await slow).json()["saved"] is True
    assert (await visitor.put(workers[1], "through_the_old_id", 1)).status_code == 200
    fresh = Visitor(visitor.http, new[0])
    for n in range(10):
        assert await fresh.data(workers[n % 2], f"k{n}") == n
    assert await fresh.data(workers[0], "through_the_old_id") == 1
    assert await fresh.data(workers[1], "slow") is not None
    await asyncio.sleep(1.1)
    assert not await visitor.knows_me(workers[0])
    assert await fresh.knows_me(workers[1])


async def test_logins_end_everywhere(workers: list[Worker], new_visitor: NewVisitor) -> None:
    """A login over another login gives a new cookie and ends the old session on every worker."""
    visitor = await new_visitor().logged_in(workers[0])
    old = visitor.cookie
    await visitor.log_in(workers[1])
    assert visitor.cookie != old
    stale = Visitor(visitor.http, old)
    for worker in workers:
        assert await visitor.knows_me(worker)
        assert not await stale.knows_me(worker)


async def test_a_cluster_behind_workers(
    shared_cluster: Place, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """Workers whose REDIS_URL names a cluster serve visitors as with one Redis."""
    workers = start_workers(shared_cluster.url, 2)

    async def one_visitor() -> None:
        visitor = await new_visitor().logged_in(workers[0])
        await asyncio.gather(*(_visit(visitor, workers[n % 2]) for n in range(10)))
        assert (await visitor.get(workers[1], "/api/session")).json()["visits"] == 10
        assert (await visitor.post(workers[1], "/logout")).status_code == 302
        assert not await visitor.knows_me(workers[0])

    await asyncio.gather(*(one_visitor() for _ in range(10)))


async def test_disconnecting_clients(workers: list[Worker], new_visitor: NewVisitor) -> None:
    """Clients that hang up in the middle harm nobody: others get their own answers, nothing stays open."""
    visitors = [new_visitor() for _ in range(10)]
    await asyncio.gather(*(visitor.log_in(workers[0]) for visitor in visitors))

    async def hang_up(visitor: Visitor) -> None:
        leaving = httpx.Timeout(10, read=0.1)  # once the request is there
        async with httpx.AsyncClient(trust_env=False, timeout=leaving) as client:
            with pytest.raises(httpx.ReadTimeout):
                await Visitor(client, visitor.cookie).get(workers[0], "/slow?ms=300&write=k")

    async def ask(visitor: Visitor) -> None:
        for _ in range(10):
            answer = await visitor.get(workers[0], "/api/session")
            assert answer.json()["user"] == visitor.user

    await asyncio.gather(*map(hang_up, visitors * 3), *map(ask, visitors))
    await asyncio.sleep(0.4)
    assert workers[0].in_flight() == 0


async def _visit(visitor: Visitor, worker: Worker, operation: str = "") -> httpx.Response:
    answer = await visitor.post(worker, "/api/visits", json={"op": operation or uuid.uuid4().hex})
    assert answer.status_code == 200, answer.text
    return answer
