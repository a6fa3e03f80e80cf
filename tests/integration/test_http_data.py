"""The JSON interface: what it takes, what it refuses and with which status."""

from __future__ import annotations

import pytest

from lab.testbed.servers import Place
from lab.testbed.workers import Worker
from tests.integration.conftest import NewVisitor, StartWorkers
from tests.integration.visitor import Visitor


async def test_one_field(workers: list[Worker], visitor: Visitor) -> None:
    """A value that was put is what another worker gives back, with a version that rises; gone is 404."""
    value = {"list": [1, 2.5, None, True], "text": "é李</script>"}
    put = await visitor.put(workers[0], "k", value)
    got = await visitor.get(workers[1], "/api/data/k")
    assert put.json() == got.json() == {"key": "k", "value": value, "version": 2}
    assert (await visitor.ask(workers[0], "DELETE", "/api/data/k")).status_code == 204
    assert (await visitor.get(workers[1], "/api/data/k")).status_code == 404
    assert (await visitor.ask(workers[0], "DELETE", "/api/data/k")).status_code == 204


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"NaN", b"Infinity", b"-Infinity", b"1e999", b"01", b"1.", b"'a'", b"[1,]",
        b'{"a":1}x', b'"\xff"', b'"\\ud800"', b'{"\\udfff":1}', b'"a\x01"', b"1" * 400,
        b"1208925819614629174706176", b"[" * 33 + b"]" * 33, b"[" * 30000,
    ],
)  # fmt: skip
async def test_not_plain_json(workers: list[Worker], visitor: Visitor, body: bytes) -> None:
    """What is not strict JSON, or would not come back unchanged, is 400 with a reason; old data stays."""
    await visitor.put(workers[0], "k", "old")
    answer = await visitor.ask(workers[0], "PUT", "/api/data/k", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert await visitor.data(workers[1], "k") == "old"


async def test_caps(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """More bytes or fields than allowed are 413, a key that is too long 400, all with the old data intact."""
    (worker,) = start_workers(shared_single.url, SESSION_MAX_BYTES="300", SESSION_MAX_FIELDS="2")
    visitor = await new_visitor().logged_in(worker)
    await visitor.put(worker, "k", "old")
    await visitor.put(worker, "m", 1)
    refused = [
        (await visitor.put(worker, "k", "x" * 300), 413),
        (await visitor.put(worker, "n", 1), 413),
        (await visitor.post(worker, "/api/data/n/add", json={"by": 1}), 413),
        (await visitor.post(worker, "/api/visits", json={"op": "x"}), 413),
        (await visitor.put(worker, "k" * 129, 1), 400),
    ]
    for answer, status in refused:
        assert answer.status_code == status
        assert answer.json()["error"]
    assert await visitor.data(worker, "k") == "old"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"op": ""}',
        b'{"op": 1}',
        b'{"op": null}',
        b"[]",
        b'{"op": "%s"}' % (b"x" * 129),
    ],
)
async def test_visits_need_an_operation(
    workers: list[Worker], visitor: Visitor, body: bytes
) -> None:
    """A visit without a usable operation id is 400 and counts nothing."""
    answer = await visitor.post(workers[0], "/api/visits", content=body)
    assert answer.status_code == 400
    assert (await visitor.get(workers[1], "/api/session")).json()["visits"] == 0


async def test_odd_operations(workers: list[Worker], visitor: Visitor) -> None:
    """An operation id may be any JSON text, a lone surrogate included, and counts once."""
    for n, operation in enumerate((rb"\ud800", rb"\u0000", b"=", b"1"), start=1):
        for worker in workers:
            body = b'{"op": "%s"}' % operation
            answer = await visitor.post(worker, "/api/visits", content=body)
            assert (answer.status_code, answer.json()["visits"]) == (200, n)


async def test_only_numbers_are_added_to(workers: list[Worker], visitor: Visitor) -> None:
    """Adding to what is no number, or adding what is none, is 400 and changes nothing."""
    await visitor.put(workers[0], "k", "text")
    assert (await visitor.post(workers[0], "/api/data/k/add", json={"by": 1})).status_code == 400
    await visitor.put(workers[0], "visits", "text")
    assert (await visitor.post(workers[0], "/api/visits", json={"op": "x"})).status_code == 400
    await visitor.put(workers[0], "half", 0.5)
    huge = b'{"by": 1%s}' % (b"0" * 400)  # no float is that large
    for body in (b'{"by": "1"}', b'{"by": true}', b"[]", b'{"by": 1e999}', huge):
        for key in ("n", "half"):
            answer = await visitor.post(workers[1], f"/api/data/{key}/add", content=body)
            assert answer.status_code == 400, (key, body)
    added = await visitor.post(workers[0], "/api/data/n/add", json={})
    assert (added.json()["value"], await visitor.data(workers[1], "k")) == (1, "text")


@pytest.mark.parametrize(
    "path", ["/api/data/%ff", "/api/data/%00", "/api/data/a%2Fb", "/api/data/%F0%9F%98%80"]
)
async def test_odd_keys(workers: list[Worker], visitor: Visitor, path: str) -> None:
    """A key is any text that the address can carry; bytes that are no text are 400."""
    answer = await visitor.ask(workers[0], "PUT", path, json=1)
    assert answer.status_code == (400 if path.endswith("ff") else 200)


async def test_anonymous(workers: list[Worker], new_visitor: NewVisitor) -> None:
    """Without a session each of these says 401 in JSON, and nobody is sent elsewhere."""
    for method, path in (
        ("GET", "/api/session"), ("POST", "/api/visits"), ("GET", "/api/data/k"),
        ("PUT", "/api/data/k"), ("DELETE", "/api/data/k"), ("POST", "/api/data/k/add"),
        ("GET", "/api/devices"), ("GET", "/slow"),
    ):  # fmt: skip
        answer = await new_visitor().ask(workers[0], method, path)
        assert (answer.status_code, answer.json()) == (401, {"error": "not logged in"}), path


async def test_slow_can_be_off(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """With DEMO_ENDPOINTS=0 there is no /slow."""
    (worker,) = start_workers(shared_single.url, DEMO_ENDPOINTS="0")
    visitor = await new_visitor().logged_in(worker)
    assert (await visitor.get(worker, "/slow?ms=1")).status_code == 404


@pytest.mark.parametrize(
    "query", ["ms=x", "ms=-1", "ms=10001", "kind=x", "ms=" + "1" * 500, "ms=²"]
)
async def test_slow_is_bounded(workers: list[Worker], visitor: Visitor, query: str) -> None:
    """Only a whole number of milliseconds up to ten seconds is waited for."""
    assert (await visitor.get(workers[0], f"/slow?{query}")).status_code == 400


async def test_counters(workers: list[Worker], visitor: Visitor) -> None:
    """A worker counts loads, saves, conflicts, gone, errors and the time Redis took."""
    (worker, _) = workers
    names = [
        f"session_{name}_total"
        for name in (
            "loads",
            "saves",
            "conflicts",
            "gone",
            "renewals",
            "evicted",
            "corrupt",
            "errors",
        )
    ]
    before = {name: worker.metric(name) for name in names}
    measured = worker.metric("session_store_seconds_count")
    await visitor.get(worker, "/api/session")
    await visitor.put(worker, "k", 1)
    after = {name: worker.metric(name) - before[name] for name in names}
    assert after == dict.fromkeys(names, 0) | {"session_loads_total": 2, "session_saves_total": 1}
    assert worker.metric("session_store_seconds_count") == measured + 3
    assert worker.metric("requests_in_flight") == 1
