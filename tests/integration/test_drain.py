"""SIGTERM: a worker leaves without losing a request."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress

import httpx
import pytest

from lab.testbed.servers import Place
from lab.testbed.workers import Worker
from tests.integration.conftest import NewVisitor, StartWorkers
from tests.integration.visitor import Visitor


async def ended(worker: Worker, seconds: float) -> int:
    return await asyncio.to_thread(worker.wait, seconds)


async def test_nothing_in_flight_is_lost(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """Requests in flight at SIGTERM, and those that still arrive, are answered and saved; exit status 0."""
    (worker,) = start_workers(shared_single.url)
    visitor = await new_visitor().logged_in(worker)
    slow = [
        asyncio.create_task(visitor.get(worker, f"/slow?ms={ms}&write=k{ms}"))
        for ms in (300, 900, 1500, 2000)
    ]
    await asyncio.sleep(0.1)
    worker.terminate()
    await asyncio.sleep(0.1)
    assert worker.readiness() == 503
    during = await asyncio.gather(*(visitor.put(worker, f"d{n}", n) for n in range(20)))
    assert {answer.status_code for answer in during} == {200}
    answers = await asyncio.gather(*slow)
    assert [answer.json()["saved"] for answer in answers] == [True] * 4
    assert await ended(worker, 5) == 0
    (other,) = start_workers(shared_single.url)
    for ms in (300, 900, 1500, 2000):
        assert await visitor.data(other, f"k{ms}") is not None


async def test_says_close(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """From SIGTERM on each answer, also to a request that began before it, says Connection: close."""
    (worker,) = start_workers(shared_single.url)
    visitor = await new_visitor().logged_in(worker)
    assert (await visitor.get(worker, "/api/session")).headers.get("Connection") != "close"
    slow = asyncio.create_task(visitor.get(worker, "/slow?ms=400"))
    await asyncio.sleep(0.1)
    worker.terminate()
    await asyncio.sleep(0.1)
    answers = [await visitor.get(worker, "/api/session") for _ in range(3)]
    answers.append(await slow)
    assert [answer.headers.get("Connection") for answer in answers] == ["close"] * 4
    assert await ended(worker, 5) == 0


async def test_hangs_up(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """While it drains, the worker itself closes a kept connection after its answer (no_keep_alive)."""
    (worker,) = start_workers(shared_single.url)
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
    writer.write(request)
    assert b"200 OK" in await reader.read(4096)
    worker.terminate()
    await asyncio.sleep(0.1)
    writer.write(request)
    async with asyncio.timeout(0.5):  # long before the process ends
        assert b"200 OK" in await reader.read()
    writer.close()
    assert await ended(worker, 5) == 0


async def test_stops_accepting(shared_single: Place, start_workers: StartWorkers) -> None:
    """A drained worker refuses connections after a second, while what is in flight goes on."""
    (worker,) = start_workers(shared_single.url)
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        visitor = Visitor(client)
        await visitor.log_in(worker)
        slow = asyncio.create_task(visitor.get(worker, "/slow?ms=2000"))
        await asyncio.sleep(0.1)
        worker.terminate()
        await asyncio.sleep(1.4)
        with pytest.raises(httpx.ConnectError):
            await visitor.get(worker, "/api/session")
        assert (await slow).status_code == 200
    assert await ended(worker, 5) == 0


async def test_late_request(shared_single: Place, start_workers: StartWorkers) -> None:
    """Who was still accepted is answered, also when the request comes a third of a second later.

    A connection that brings none at all keeps the worker listening, and then a second longer.
    """
    (worker,) = start_workers(shared_single.url)
    answers: list[asyncio.Task[bytes]] = []

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        await asyncio.sleep(0.3)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            return (await reader.read()).partition(b"\r\n")[0]
        except ConnectionError as error:
            return repr(error).encode()
        finally:
            writer.close()

    worker.terminate()
    await asyncio.sleep(0.1)
    _, silent = await asyncio.open_connection("127.0.0.1", worker.port)
    with suppress(ConnectionError, TimeoutError):
        while True:
            async with asyncio.timeout(0.5):
                connection = await asyncio.open_connection("127.0.0.1", worker.port)
            answers.append(asyncio.create_task(ask(*connection)))
            await asyncio.sleep(0.01)

    assert set(await asyncio.gather(*answers)) == {b"HTTP/1.1 200 OK"}
    assert len(answers) > 20
    assert await ended(worker, 5) == 0
    silent.close()


async def test_bounded(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """What takes longer than DRAIN_SECONDS is cut off, said in the log, and the exit status is still 0."""
    (worker,) = start_workers(shared_single.url, DRAIN_SECONDS="1")
    visitor = await new_visitor().logged_in(worker)
    slow = asyncio.create_task(visitor.get(worker, "/slow?ms=8000"))
    await asyncio.sleep(0.1)
    began = time.monotonic()
    worker.terminate()
    assert await ended(worker, 3) == 0
    assert time.monotonic() - began < 2
    assert (await slow).status_code == 500  # the answer of a request that could not finish
    assert "1 requests were cut off after 1 s" in worker.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_idle_worker(
    shared_single: Place, start_workers: StartWorkers, number: signal.Signals
) -> None:
    """A worker without requests ends with status 0 on SIGTERM and on Ctrl-C, and says what it did."""
    (worker,) = start_workers(shared_single.url)
    assert worker.process is not None
    worker.process.send_signal(number)
    assert await ended(worker, 3) == 0
    assert [word for word in ("ready", "draining", "stopped") if f'"{word}"' in worker.log] == [
        "ready",
        "draining",
        "stopped",
    ]


async def test_ends_without_redis(shared_single: Place, start_workers: StartWorkers) -> None:
    """A worker that never found Redis ends as well."""
    (worker,) = start_workers("redis://127.0.0.1:1", ready=False)
    worker.terminate()
    assert await ended(worker, 3) == 0
