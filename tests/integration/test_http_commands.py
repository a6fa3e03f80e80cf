"""What each kind of request costs in Redis, counted by Redis itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from lab.testbed.monitor import Monitor
from lab.testbed.servers import Place
from lab.testbed.workers import Worker
from tests.integration.conftest import NewVisitor
from tests.integration.visitor import Visitor


@pytest.fixture
async def visitor(workers: list[Worker], new_visitor: NewVisitor) -> Visitor:
    """Logged in, with all scripts known to Redis."""
    visitor = new_visitor()
    for _ in range(2):
        await visitor.log_in(workers[0])
        for worker in workers:
            await visitor.put(worker, "k", 1)
            await visitor.post(worker, "/api/visits", json={"op": "warm"})
        await visitor.get(workers[0], "/devices")
    return visitor


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/login",
        "/logout",
        "/api/session",
        "/devices",
        "/nowhere",
        "/livez",
        "/readyz",
        "/metrics",
    ],
)
async def test_anonymous(
    workers: list[Worker], new_visitor: NewVisitor, shared_single: Place, path: str
) -> None:
    """An anonymous request costs no command."""
    with Monitor(shared_single) as asked:
        await new_visitor().get(workers[0], path)
    assert asked.from_clients == []


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/nowhere"])
async def test_pages_that_ask_for_nobody(
    workers: list[Worker], visitor: Visitor, shared_single: Place, path: str
) -> None:
    """A page that needs no session does not look for one, even with a cookie."""
    with Monitor(shared_single) as asked:
        await visitor.get(workers[0], path)
    assert asked.from_clients == []


@pytest.mark.parametrize("path", ["/", "/login", "/logout", "/api/session", "/api/data/k", "/slow"])
async def test_reading(
    workers: list[Worker], visitor: Visitor, shared_single: Place, path: str
) -> None:
    """A request that reads costs one command, which inside Redis looks and writes nothing."""
    with Monitor(shared_single) as asked:
        await visitor.get(workers[0], path)
    assert [one.name for one in asked.from_clients] == ["EVALSHA"]
    assert Counter(one.name for one in asked.from_scripts) == {"TIME": 1, "HGETALL": 1}


@pytest.mark.parametrize(
    ("method", "path", "json"),
    [
        ("PUT", "/api/data/k", 2),
        ("DELETE", "/api/data/k", None),
        ("POST", "/api/visits", {"op": "new"}),
        ("POST", "/api/data/sum/add", {"by": 1}),
        ("GET", "/slow?write=k", None),
        ("POST", "/logout", None),
    ],
)
async def test_writing(
    workers: list[Worker], visitor: Visitor, shared_single: Place, method: str, path: str, json: Any
) -> None:
    """A request that writes costs two commands: it loads, and it writes."""
    await visitor.post(workers[0], "/api/data/sum/add", json={"by": 1})
    with Monitor(shared_single) as asked:
        answer = await visitor.ask(workers[0], method, path, json=json)
    assert answer.status_code in (200, 204, 302)
    assert [one.name for one in asked.from_clients] == ["EVALSHA", "EVALSHA"]


async def test_writing_what_is_there(
    workers: list[Worker], visitor: Visitor, shared_single: Place
) -> None:
    """A write that changes nothing costs what a read costs."""
    await visitor.put(workers[0], "k", {"a": [1]})
    with Monitor(shared_single) as asked:
        await visitor.put(workers[0], "k", {"a": [1]})
    assert len(asked.from_clients) == 1


async def test_login(workers: list[Worker], new_visitor: NewVisitor, shared_single: Place) -> None:
    """A login costs four commands: a try is taken, who is there, begin, the try is given back; a failure two."""
    form = {"username": "first-login-of-this-test", "password": "demo"}
    costs = []
    await new_visitor().post(workers[0], "/login", data=form)  # Redis knows the scripts now
    for password in ("demo", "demo", "wrong", "demo", "demo"):
        with Monitor(shared_single) as asked:
            await new_visitor().post(workers[0], "/login", data=form | {"password": password})
        costs.append(len(asked.from_clients))
    assert costs == [4, 4, 2, 4, 4]
