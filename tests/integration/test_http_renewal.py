"""Timed renewal as browsers see it: cookies, slow pages, aborted answers, logins and logouts meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from lab.testbed.servers import Place, RedisServer
from lab.testbed.workers import Worker
from tests.integration.conftest import NewVisitor, StartWorkers
from tests.integration.visitor import Visitor, new_cookie

OFTEN = {"SESSION_RENEW_SECONDS": "1.2", "SESSION_RENEW_GRACE_SECONDS": "1"}
DUE, OVER = 1.25, 1.15  # seconds after which an id is due, and the grace is over


@pytest.fixture(scope="module")
def both(shared_single: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Worker]]:
    """Two workers that renew an id as often as the settings allow, shared by these tests."""
    workers = [Worker(tmp_path_factory.mktemp("often"), shared_single.url, **OFTEN) for _ in "12"]
    with ExitStack() as started:
        for worker in workers:
            started.callback(worker.stop)
            worker.start()
        for worker in workers:
            worker.wait_ready()
        yield workers
    assert [line for worker in workers for line in worker.unexpected()] == []


@pytest.fixture
async def visitor(both: list[Worker], new_visitor: NewVisitor) -> Visitor:
    """A visitor whose id is due."""
    visitor = await new_visitor().logged_in(both[0])
    await asyncio.sleep(DUE)
    return visitor


async def test_aborted_answers(both: list[Worker], visitor: Visitor) -> None:
    """Ten times the renewing answer is lost on its way: the visitor stays logged in with the old cookie."""
    for number in range(10):
        with pytest.raises(httpx.TimeoutException):
            await visitor.get(both[number % 2], "/slow?ms=120", timeout=0.05)
    await asyncio.sleep(OVER + 0.2)
    answer = await visitor.get(both[1], "/api/session")
    assert (answer.status_code, bool(new_cookie(answer))) == (200, True)


async def test_every_answer_offers_the_same(both: list[Worker], visitor: Visitor) -> None:
    """All answers to the old cookie set the same new one, from whichever worker; the new one's set none."""
    paths = ["/", "/login", "/logout", "/api/session", "/api/data/none", "/devices"] * 2
    answers = [await visitor.get(both[n % 2], path) for n, path in enumerate(paths)]
    readers = {new_cookie(answer) for answer in answers}
    assert None not in readers
    sessions = [Visitor(visitor.http, cookie) for cookie in readers]
    for session in sessions:
        answer = await session.get(both[0], "/api/session")
        assert (answer.json()["user"], new_cookie(answer)) == (visitor.user, None)
    await asyncio.sleep(OVER)
    assert not await visitor.knows_me(both[1])
    assert [await session.knows_me(both[1]) for session in sessions] == [True] * len(sessions)


async def test_beside_a_slow_page(both: list[Worker], visitor: Visitor) -> None:
    """While a slow page renews, longer than the grace, the browser's other requests are all answered."""
    slow = asyncio.create_task(visitor.get(both[0], "/slow?ms=2600&write=late"))
    seen = []
    while not slow.done():
        seen.append(await visitor.knows_me(both[1]))
        await asyncio.sleep(0.1)
    assert len(seen) > 15
    assert all(seen)
    answer = await slow
    assert answer.json()["saved"] is True
    renewed = Visitor(visitor.http, new_cookie(answer))
    assert await renewed.data(both[1], "late")


async def test_a_slow_write_lands(both: list[Worker], visitor: Visitor) -> None:
    """A write that takes longer than the grace is saved, though its id has been renewed and died meanwhile."""
    slow = asyncio.create_task(visitor.get(both[0], "/slow?ms=2400&write=late"))
    await asyncio.sleep(0.1)
    renewed = Visitor(visitor.http, new_cookie(await visitor.get(both[1], "/api/session")))
    assert await renewed.knows_me(both[1])
    await asyncio.sleep(OVER)
    assert not await visitor.knows_me(both[1])
    answer = await slow
    assert answer.json()["saved"] is True
    assert await renewed.data(both[0], "late")


@pytest.mark.parametrize("path", ["/login", "/logout", "/devices/end-all"])
async def test_a_late_answer_undoes_nothing(
    both: list[Worker], visitor: Visitor, path: str
) -> None:
    """A slow page that would renew sends no cookie once a login or a logout has ended its session."""
    slow = asyncio.create_task(visitor.get(both[0], "/slow?ms=600"))
    await asyncio.sleep(0.1)
    form = {"username": visitor.user, "password": "demo"}
    other = await visitor.post(both[1], path, data=form)
    assert other.status_code == 302
    assert len(other.headers.get_list("Set-Cookie")) == 1
    answer = await slow
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (200, False)


async def test_an_older_answer_undoes_nothing(both: list[Worker], visitor: Visitor) -> None:
    """A slow page that began two ids ago sends no cookie: the browser holds a newer one."""
    slow = asyncio.create_task(visitor.get(both[0], "/slow?ms=4000"))
    await asyncio.sleep(0.1)
    for _ in range(2):
        visitor.cookie = new_cookie(await visitor.get(both[1], "/api/session"))
        assert visitor.cookie
        assert await visitor.knows_me(both[1])
        await asyncio.sleep(DUE)
    assert new_cookie(await visitor.get(both[1], "/api/session"))
    answer = await slow
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (200, False)


async def test_redis_full(
    server: RedisServer, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """With Redis full an id that is due is not renewed, and readers read on; with room it is."""
    both, visitor = start_workers(server.url, 2, **OFTEN), new_visitor()
    await visitor.log_in(both[0])
    await asyncio.sleep(DUE)
    server.admin.config_set("maxmemory", "1")
    for worker in both:
        for path in ("/", "/api/session"):
            answer = await visitor.get(worker, path)
            assert (answer.status_code, "Set-Cookie" in answer.headers) == (200, False)
    server.admin.config_set("maxmemory", "0")
    assert new_cookie(await visitor.get(both[0], "/api/session"))


async def test_devices_by_refs_of_before(both: list[Worker], visitor: Visitor) -> None:
    """A ref on a page from before the renewal ends that device, and one's own is still marked as current."""
    other = Visitor(visitor.http)
    await other.log_in(both[0], visitor.user)
    (device,) = [
        device
        for device in (await other.get(both[0], "/api/devices")).json()["devices"]
        if not device["current"]
    ]
    visitor.cookie = new_cookie(await visitor.get(both[0], "/api/session"))
    listed = (await visitor.get(both[1], "/api/devices")).json()["devices"]
    assert [one["ref"] for one in listed if one["current"]] == [device["ref"]]
    assert (await other.post(both[1], f"/devices/{device['ref']}/end")).status_code == 302
    assert not await visitor.knows_me(both[0])
    assert await other.knows_me(both[0])


async def test_end_others_beside_a_renewal(both: list[Worker], visitor: Visitor) -> None:
    """Ending the other devices while one's own id is renewed leaves one's own session alone."""
    other = Visitor(visitor.http)
    await other.log_in(both[0], visitor.user)
    answers = await asyncio.gather(
        visitor.get(both[0], "/api/session"),
        visitor.post(both[1], "/devices/end-others"),
        visitor.get(both[0], "/api/session"),
    )
    assert [answer.status_code for answer in answers] == [200, 302, 200]
    visitor.cookie = new_cookie(answers[0])
    assert await visitor.knows_me(both[1])
    assert not await other.knows_me(both[1])
