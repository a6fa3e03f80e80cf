"""A slow page is not a broken worker: it runs once, and nobody else loses a request."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.native.scratch import Scratch, scratch_stack
from lab.testbed.servers import wait_until
from tests.conftest import UPSTREAM
from tests.stack.conftest import ChangedNginx
from tests.stack.test_faults import reading
from tests.stack.visitor import Visitor, new_visitor

pytestmark = pytest.mark.native
PAGE_SECONDS = 2


@pytest.fixture(scope="module")
def own() -> Iterator[Scratch]:
    """A stack whose pages may take two seconds."""
    with scratch_stack(UPSTREAM, os.environ, PAGE_SECONDS=str(PAGE_SECONDS)) as stack:
        yield stack


@pytest.fixture
def member(own: Scratch) -> Iterator[Visitor]:
    with new_visitor(own.url) as visitor:
        visitor.log_in()
        yield visitor


def runs_of(stack: Scratch, answer: httpx.Response) -> int:
    """How many workers nginx gave this request to, by its access log."""
    log = stack.folder / "state/logs/access.log"
    request_id = answer.headers["X-Request-ID"]
    wait_until(lambda: request_id in log.read_text(), seconds=10, what="the request's line")
    (line,) = [json.loads(line) for line in log.read_text().splitlines() if request_id in line]
    return len(str(line["upstream"]).split(","))


def pages(visitor: Visitor, count: int, **query: Any) -> list[httpx.Response]:
    """So many slow pages at once."""
    with ThreadPoolExecutor(count) as threads:
        begun: list[Future[httpx.Response]] = [
            threads.submit(visitor.get, "/slow", params=query, timeout=60) for _ in range(count)
        ]
        return [page.result() for page in begun]


@pytest.mark.parametrize("kind", ["wait", pytest.param("block", marks=pytest.mark.long)])
def test_slow(stack: Scratch, kind: str) -> None:
    """Pages of four seconds, eight at once and without a location of their own, run once and are answered."""
    with new_visitor(stack.url) as member:
        member.log_in()
        with reading(stack.url, member.cookies) as others:
            answers = pages(member, 8, ms=4000, kind=kind)

    assert [answer.status_code for answer in answers] == [200] * 8
    assert [runs_of(stack, answer) for answer in answers] == [1] * 8
    assert set(others) == {200}


@pytest.mark.parametrize("kind", ["wait", pytest.param("block", marks=pytest.mark.long)])
def test_too_slow(own: Scratch, member: Visitor, kind: str) -> None:
    """Pages beyond PAGE_SECONDS, on every worker at once, are 504 and run once; nobody else loses a request."""
    with reading(own.url, member.cookies) as others:
        answers = pages(member, 8, ms=4000, kind=kind)
        after = member.get("/api/session")

    assert [answer.status_code for answer in answers] == [504] * 8
    assert [runs_of(own, answer) for answer in answers] == [1] * 8
    assert all(answer.json()["may_have_happened"] for answer in answers)
    assert set(others) == {200}
    assert after.status_code == 200


def test_short_read_timeout_is_noticed(own: Scratch, changed_nginx: ChangedNginx) -> None:
    """With nginx's timeout at two seconds, as it was once, slow pages run again and cost others requests."""
    timeout = "proxy_send_timeout 10s;"
    url = changed_nginx("proxy.conf", timeout, f"{timeout} proxy_read_timeout 1s;", before=own)
    with new_visitor(url) as member:
        member.log_in()
        with reading(url, member.cookies) as others:
            answers = pages(member, 8, ms=1800)

    assert {answer.status_code for answer in answers} & {502, 504}
    assert set(others) & {502, 504}


def test_cancelled(own: Scratch, member: Visitor) -> None:
    """A page that is ended does not go on in the background: it writes nothing, and its log says one line."""
    assert member.get("/slow", params={"ms": 4000, "write": "late"}).status_code == 504
    time.sleep(3)
    assert member.get("/api/data/late").status_code == 404
    logs = "".join(
        path.read_text() for path in Path(own.folder / "state/logs").glob("worker-*.log")
    )

    assert '"message":"GET /slow took longer than PAGE_SECONDS"' in logs
    assert '"level":"error"' not in logs


@contextmanager
def nobody_answers() -> Iterator[int]:
    """A port where packets vanish, as on a host that is gone: its queue of connections is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        yield address[1]
        for one in waiting:
            one.close()


def test_unreachable_host(stack: Scratch, changed_nginx: ChangedNginx, tmp_path: Path) -> None:
    """A host whose packets vanish costs no request, and about one request a second waits for a second."""
    last = f"server 127.0.0.1:{stack.worker_ports[-1]} max_fails=1 fail_timeout=1s;"
    with nobody_answers() as port:
        gone = f"server 127.0.0.1:{port} max_fails=1 fail_timeout=1s;"
        url = changed_nginx("upstream.conf", last, f"{last} {gone}")
        with new_visitor(url) as member:
            member.log_in()
            began = time.monotonic()
            with reading(url, member.cookies) as answers:
                time.sleep(5)
            took = time.monotonic() - began
    (log,) = tmp_path.glob("*/access.log")
    waited = [line for line in log.read_text().splitlines() if f":{port}" in line]

    assert set(answers) == {200}
    assert len(answers) > 100
    assert 0 < len(waited) < 2 * took
    assert max(json.loads(line)["request_time"] for line in waited) < 4
