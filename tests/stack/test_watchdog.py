"""A worker that hangs is replaced, and one that is only slow, draining or frozen with the whole machine is not."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from deploy.native.scratch import Scratch, scratch_stack
from lab.testbed.servers import wait_until
from tests.conftest import UPSTREAM, StartStack
from tests.stack.operating import done
from tests.stack.processes import boot_of, pid_listening, supervisord_of, supervisord_pid
from tests.stack.visitor import Visitor, new_visitor

pytestmark = pytest.mark.native
WATCHDOG_SECONDS = 3
BACK_SECONDS = 20.0  # far above what it takes; this machine may be busy


@pytest.fixture(scope="module")
def own() -> Iterator[Scratch]:
    """A stack whose workers may be silent for three seconds."""
    with scratch_stack(UPSTREAM, os.environ, WATCHDOG_SECONDS=str(WATCHDOG_SECONDS)) as stack:
        yield stack


@pytest.fixture
def member(own: Scratch) -> Iterator[Visitor]:
    with new_visitor(own.url) as visitor:
        visitor.log_in()
        yield visitor


def pid_of(stack: Scratch, port: int) -> int:
    return pid_listening(supervisord_pid(stack), port, stack)


def said(stack: Scratch) -> list[dict[str, Any]]:
    """The lines of the watchdog's log."""
    log = stack.folder / "state/logs/watchdog.log"
    return [json.loads(line) for line in log.read_text().splitlines()]


def replaced(stack: Scratch, port: int, boot: str | None) -> None:
    """Wait until another worker answers on that port."""
    wait_until(
        lambda: boot_of(port) not in (None, boot), seconds=BACK_SECONDS, what="another worker"
    )


def at_worker(stack: Scratch, member: Visitor, path: str, count: int = 1) -> list[httpx.Response]:
    """So many requests at once, past nginx, to the first worker; an answer that breaks off is left out."""
    cookie = {"Cookie": f"sid={member.cookies['sid']}"}
    url = f"http://127.0.0.1:{stack.worker_ports[0]}{path}"

    def ask() -> httpx.Response:
        return httpx.get(url, headers=cookie, timeout=60, trust_env=False)

    with ThreadPoolExecutor(count) as threads:
        return [one.result() for one in [threads.submit(ask) for _ in range(count)]]


def test_hanging_page(own: Scratch, member: Visitor) -> None:
    """Of a worker that a page hangs, GETs are answered by another, POSTs are 502, the page itself is 504, once."""
    before = len(said(own))
    boots = {port: boot_of(port) for port in own.worker_ports}
    with ThreadPoolExecutor(40) as threads:
        hangs = threads.submit(member.get, "/slow?kind=hang", timeout=60)
        time.sleep(0.5)
        gets: list[Future[httpx.Response]] = [
            threads.submit(member.get, "/api/session", timeout=60) for _ in range(16)
        ]
        posts = [
            threads.submit(member.post, "/api/visits", json={"op": f"hang-{n}"}, timeout=60)
            for n in range(16)
        ]
    wait_until(
        lambda: all(boot_of(port) for port in own.worker_ports),
        seconds=BACK_SECONDS,
        what="all workers",
    )
    (line,) = said(own)[before:]
    new = [port for port in own.worker_ports if boot_of(port) != boots[port]]

    assert hangs.result().status_code == 504
    assert {get.result().status_code for get in gets} == {200}
    assert {post.result().status_code for post in posts} == {200, 502}
    assert [f"worker-{port}" for port in new] == [line["worker"]]
    assert f"has not answered for {WATCHDOG_SECONDS} s" in line["message"]
    assert "app/handlers/slow.py" in line["stack"]


def test_stopped_process(own: Scratch) -> None:
    """A worker under SIGSTOP is replaced, and the log says that there is no stack."""
    port = own.worker_ports[1]
    boot, before = boot_of(port), len(said(own))
    os.kill(pid_of(own, port), signal.SIGSTOP)
    replaced(own, port, boot)
    (line,) = said(own)[before:]

    assert line["worker"] == f"worker-{port}"
    assert line["stack"].startswith("none: the process is stopped")


@pytest.mark.long
def test_pages_that_block_in_turn(own: Scratch, member: Visitor) -> None:
    """Pages that block one after the other for longer than the limit do not make it a hung worker."""
    before = len(said(own))
    answers = at_worker(own, member, "/slow?kind=block&ms=1500", 5)

    assert [answer.status_code for answer in answers] == [200] * 5
    assert said(own)[before:] == []


@pytest.mark.long
def test_all_is_frozen(own: Scratch) -> None:
    """Where the watchdog stands still with the workers, as on a machine that is suspended, it kills nobody."""
    before = len(said(own))
    pids = [pid for name, pid in processes(own).items() if name.startswith(("worker", "watchdog"))]
    boots = [boot_of(port) for port in own.worker_ports]
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in pids:
            os.kill(pid, number)
        time.sleep(WATCHDOG_SECONDS + 1)

    assert [boot_of(port) for port in own.worker_ports] == boots
    assert said(own)[before:] == []


@pytest.mark.long
def test_drain(own: Scratch, member: Visitor) -> None:
    """A worker that drains for longer than the limit is not taken for one that hangs."""
    before = len(said(own))
    with ThreadPoolExecutor(1) as threads:
        pages = threads.submit(at_worker, own, member, "/slow?ms=7000")
        time.sleep(0.5)
        os.kill(pid_of(own, own.worker_ports[0]), signal.SIGTERM)
        (answer,) = pages.result()
    replaced(own, own.worker_ports[0], None)

    assert answer.status_code == 200
    assert said(own)[before:] == []


@pytest.mark.long
def test_rolling_restart(own: Scratch) -> None:
    """Workers that have only just started are left alone."""
    before = len(said(own))
    done(own, "rolling-restart")
    time.sleep(WATCHDOG_SECONDS)

    assert said(own)[before:] == []


@pytest.mark.long
def test_switched_off(start_stack: StartStack) -> None:
    """With WATCHDOG_SECONDS=0 nobody looks, and a worker that hangs stays: the control of the tests above."""
    stack = start_stack(WATCHDOG_SECONDS="0")
    port = stack.worker_ports[0]
    pid = pid_of(stack, port)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(WATCHDOG_SECONDS + 2)
    try:
        assert "watchdog" not in processes(stack)
        assert pid_of(stack, port) == pid
    finally:
        os.kill(pid, signal.SIGCONT)


def processes(stack: Scratch) -> dict[str, int]:
    """The process of each program of the stack's supervisord."""
    return {info["name"]: info["pid"] for info in supervisord_of(stack).processes() if info["pid"]}
