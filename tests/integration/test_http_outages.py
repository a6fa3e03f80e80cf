"""Redis away, seen by visitors: 503 within a second, the cookie untouched, and back without a restart."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from lab.testbed.servers import RedisServer
from lab.testbed.workers import Worker
from tests.integration.conftest import NewVisitor, StartWorkers
from tests.integration.visitor import Visitor

PROTECTED = [
    ("GET", "/", None),
    ("GET", "/api/session", None),
    ("POST", "/api/visits", {"op": "x"}),
    ("PUT", "/api/data/k", 1),
    ("POST", "/api/data/k/add", {"by": 1}),
    ("GET", "/devices", None),
    ("POST", "/devices/end-all", None),
    ("POST", "/logout", None),
]
PUBLIC = ["/login", "/logout", "/help", "/livez", "/readyz", "/metrics"]


async def asked_all(visitor: Visitor, worker: Worker) -> list[httpx.Response]:
    """The answers of all protected pages, none of which may take a second."""

    async def ask(method: str, path: str, json: object) -> httpx.Response:
        began = time.monotonic()
        answer = await visitor.ask(worker, method, path, json=json)
        assert time.monotonic() - began < 1, path
        return answer

    return await asyncio.gather(*(ask(*one) for one in PROTECTED))


def check_refusals(answers: list[httpx.Response]) -> None:
    for answer in answers:
        assert answer.status_code == 503, answer.url
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["X-Served-By"]
        assert "Set-Cookie" not in answer.headers
        assert "Traceback" not in answer.text


@pytest.mark.parametrize("outage", ["stopped", "frozen"])
async def test_redis_away(
    server: RedisServer, start_workers: StartWorkers, new_visitor: NewVisitor, outage: str
) -> None:
    """Redis stopped or frozen: protected pages say 503 within a second, public ones stay up, and it heals."""
    workers = start_workers(server.url, 2)
    visitor = await new_visitor().logged_in(workers[0])
    server.stop() if outage == "stopped" else server.freeze()
    try:
        for worker in workers:
            check_refusals(await asked_all(visitor, worker))
            public = [(await visitor.get(worker, path)).status_code for path in PUBLIC]
            assert public == [200] * len(PUBLIC)
            for path in ("/login", "/logout"):
                assert "Set-Cookie" not in (await visitor.get(worker, path)).headers
            assert worker.metric("session_errors_total") >= len(PROTECTED)
    finally:
        server.start() if outage == "stopped" else server.thaw()
    if outage == "frozen":  # the sessions are still there, and what was sent may have happened
        assert await visitor.knows_me(workers[0]) == await visitor.knows_me(workers[1])
    await visitor.log_in(workers[1])
    assert await visitor.knows_me(workers[0])


async def test_same_cookie_afterwards(
    server: RedisServer, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """The cookie from before an outage works after it, with the data that was saved."""
    workers = start_workers(server.url, 2)
    visitor = await new_visitor().logged_in(workers[0])
    await visitor.put(workers[0], "k", "kept")
    server.freeze()
    answers = await asyncio.gather(*(visitor.get(worker, "/api/session") for worker in workers))
    check_refusals(answers)
    server.thaw()
    for worker in workers:
        assert await visitor.data(worker, "k") == "kept"


async def test_frozen_visits_count_once(
    server: RedisServer, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """A visit that got 503 may have happened and says so; repeating its id counts it once in all."""
    workers = start_workers(server.url, 2)
    visitor = await new_visitor().logged_in(workers[0])
    for n in range(3):
        operation = {"op": f"op-{n}"}
        slow = asyncio.create_task(visitor.get(workers[0], "/slow?ms=400&write=k"))
        await asyncio.sleep(0.1)  # it has read its session, and its write meets the frozen server
        server.freeze()
        refused = await asyncio.gather(
            *(visitor.post(worker, "/api/visits", json=operation) for worker in workers), slow
        )
        server.thaw()
        check_refusals(refused)
        assert all(answer.json()["may_have_happened"] for answer in refused)
        answer = await visitor.post(workers[1], "/api/visits", json=operation)
        assert answer.json()["visits"] == n + 1


async def test_scripts_forgotten(
    server: RedisServer, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """Redis restarted empty: everybody is anonymous, nothing fails, and logins work at once."""
    workers = start_workers(server.url, 2)
    visitor = await new_visitor().logged_in(workers[0])
    server.stop()
    server.start()
    for worker in workers:
        answer = await visitor.get(worker, "/api/session")
        assert answer.status_code == 401
        assert "Set-Cookie" not in answer.headers
    await asyncio.gather(*(new_visitor().log_in(workers[n % 2]) for n in range(10)))


async def test_full_redis(
    server: RedisServer, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """Redis out of memory: pages and logout go on, writes and logins say 503, and it heals."""
    workers = start_workers(server.url, 2)
    visitor, leaving = new_visitor(), new_visitor()
    await visitor.log_in(workers[0])
    await leaving.log_in(workers[0])
    server.admin.config_set("maxmemory-policy", "noeviction")
    server.admin.config_set("maxmemory", "1")
    assert (await visitor.get(workers[0], "/")).status_code == 200
    refused = [
        await visitor.put(workers[1], "k", 1),
        await visitor.post(workers[0], "/api/visits", json={"op": "x"}),
        await new_visitor().post(workers[1], "/login", data={"username": "b", "password": "demo"}),
    ]
    check_refusals(refused)
    assert refused[0].json()["may_have_happened"] is False
    assert (await leaving.post(workers[1], "/logout")).status_code == 302
    assert not await leaving.knows_me(workers[0])
    server.admin.config_set("maxmemory", "0")
    assert (await visitor.put(workers[1], "k", 1)).status_code == 200


async def test_emptied_and_damaged(
    server: RedisServer, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """Redis emptied, or with rubbish at the session's key: an anonymous visitor, never a 500."""
    (worker,) = start_workers(server.url, 1)
    for damage in ("flushed", "wrong type", "corrupt"):
        visitor = await new_visitor().logged_in(worker)
        (key,) = server.admin.scan_iter(match="session:*")
        if damage == "flushed":
            server.admin.flushall()
        elif damage == "wrong type":
            server.admin.set(key, "x")
        else:
            server.admin.hset(key, "d:a", "{")
        statuses = [(await visitor.ask(worker, m, p, json=j)).status_code for m, p, j in PROTECTED]
        assert statuses == [302, 401, 401, 401, 401, 302, 302, 302]
        assert key not in server.admin.scan_iter()
    assert '"trace"' not in worker.log
    # A damaged session is worth one line; the fixture's check for errors must not see it.
    worker.log_path.write_text(worker.log.replace('"level":"error"', '"level":"noted"'))


async def test_only_a_cookie_is_still_logged_in(
    server: RedisServer, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """While Redis is away a login without a valid cookie is not told that it is still logged in."""
    (worker,) = start_workers(server.url, 1)
    visitor, stranger, forger = new_visitor(), new_visitor(), new_visitor()
    await visitor.log_in(worker)
    forger.cookie = f"{visitor.cookie}x"
    server.stop()
    form = {"username": "b", "password": "demo"}
    answers = [await one.post(worker, "/login", data=form) for one in (visitor, stranger, forger)]
    assert [answer.status_code for answer in answers] == [503] * 3
    assert ["still logged in" in answer.text for answer in answers] == [True, False, False]


async def test_start_without_redis(
    server: RedisServer, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """A worker started while Redis is away lives, is not ready, and becomes ready when Redis comes."""
    server.stop()
    (worker,) = start_workers(server.url, 1, ready=False)
    assert worker.readiness() == 503
    assert (await new_visitor().get(worker, "/livez")).status_code == 200
    assert (await new_visitor().get(worker, "/login")).status_code == 200
    server.start()
    worker.wait_ready()
    await new_visitor().log_in(worker)
