"""A worker dies, Redis goes away, a program cannot be kept running: what visitors notice."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deploy.native.scratch import Scratch
from deploy.supervisor.daemon import Supervisord
from lab.testbed.servers import wait_until
from tests.conftest import StartStack
from tests.stack.conftest import ChangedNginx
from tests.stack.processes import (
    boot_of,
    is_listening,
    pid_listening,
    supervisord_of,
    supervisord_pid,
)
from tests.stack.visitor import Visitor, new_visitor

pytestmark = pytest.mark.native
BACK_SECONDS = 10.0  # far above the two seconds a restart takes; this machine may be busy


@contextmanager
def reading(site: str, cookies: httpx.Cookies) -> Iterator[list[int | str]]:
    """Four visitors of one session keep reading it while the block runs; the list is what they got."""
    answers: list[int | str] = []
    over = threading.Event()

    def read() -> None:
        with new_visitor(site, cookies=cookies) as visitor:
            while not over.is_set():
                try:
                    answers.append(visitor.get("/api/session").status_code)
                except httpx.HTTPError as error:
                    answers.append(type(error).__name__)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        yield answers
    finally:
        over.set()
        for reader in readers:
            reader.join()


def kill_a_worker(stack: Scratch) -> None:
    """SIGKILL one, wait until it is back, and then until nginx asks it again."""
    port = stack.worker_ports[1]
    boot = boot_of(port)
    os.kill(pid_listening(supervisord_pid(stack), port, stack), signal.SIGKILL)
    wait_until(
        lambda: boot_of(port) not in (None, boot), seconds=BACK_SECONDS, what="the worker is back"
    )
    time.sleep(1.2)  # nginx's fail_timeout, and a little


def test_killed_worker(start_stack: StartStack) -> None:
    """A worker killed with SIGKILL costs no session and no GET, and is back by itself."""
    stack = start_stack()
    with new_visitor(stack.url) as member:
        member.log_in()
        visits = member.visit()["visits"]
        with reading(stack.url, member.cookies) as answers:
            kill_a_worker(stack)

        assert len(answers) > 100
        assert set(answers) == {200}
        assert member.visit()["visits"] == visits + 1


@pytest.mark.long
def test_killed_worker_needs_another_try(
    start_stack: StartStack, changed_nginx: ChangedNginx
) -> None:
    """Without a try at another worker the same costs requests, and the check above notices it."""
    stack = start_stack()
    tries = "proxy_next_upstream error timeout;"
    none = "proxy_next_upstream off; error_page 502 /static/errors/502.html;"
    url = changed_nginx("proxy.conf", tries, none, before=stack)
    with new_visitor(url) as member:
        member.log_in()
        with reading(url, member.cookies) as answers:
            kill_a_worker(stack)

        assert 502 in answers


def test_killed_nginx_master(start_stack: StartStack) -> None:
    """What a killed nginx leaves behind serves on, and makes room for the next one; the stack goes on."""
    stack = start_stack()
    supervisord = supervisord_of(stack)
    old = supervisord.pids()["nginx"]
    with new_visitor(stack.url) as member:
        member.log_in()
        os.kill(old, signal.SIGKILL)
        assert member.get("/api/session").status_code == 200
        wait_until(
            lambda: supervisord.pids().get("nginx", old) != old and serves(stack, supervisord),
            seconds=BACK_SECONDS,
            what="another nginx",
        )
        with new_visitor(stack.url, cookies=member.cookies) as again:
            assert again.get("/api/session").status_code == 200
    assert stack.process.poll() is None


def serves(stack: Scratch, supervisord: Supervisord) -> bool:
    """Whether the nginx that supervisord started has processes of its own, and no older one holds the port."""
    pid = supervisord.pids().get("nginx")
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return children.exists() and bool(children.read_text()) and is_listening(stack.http_port)


@pytest.fixture
def without_redis(start_stack: StartStack) -> Iterator[tuple[Scratch, Visitor, int]]:
    """A stack whose Redis was stopped after somebody logged in; the number is their visits."""
    stack = start_stack()
    with new_visitor(stack.url) as member:
        member.log_in()
        visits = member.visit()["visits"]
        supervisord_of(stack).stop(["redis"])
        yield stack, member, visits


def test_redis_away(without_redis: tuple[Scratch, Visitor, int]) -> None:
    """Without Redis a protected page is 503 with Retry-After within a second, and the cookie stays."""
    _, member, _ = without_redis
    for path in ("/", "/api/session"):
        started = time.monotonic()
        answer = member.get(path)

        assert answer.status_code == 503
        assert answer.headers.get_list("Retry-After")
        assert time.monotonic() - started < 1
        assert "Set-Cookie" not in answer.headers


def test_redis_away_public(without_redis: tuple[Scratch, Visitor, int]) -> None:
    """Without Redis public pages, files and the health of nginx stay 200."""
    stack, _, _ = without_redis
    with new_visitor(stack.url) as stranger:
        paths = ("/login", "/static/style.css", "/healthz")

        assert [stranger.get(path).status_code for path in paths] == [200, 200, 200]


def test_redis_back(without_redis: tuple[Scratch, Visitor, int]) -> None:
    """When Redis is back, the same cookie is logged in, with its data."""
    stack, member, visits = without_redis
    assert member.get("/api/session").status_code == 503
    supervisord_of(stack).start_program("redis")
    wait_until(
        lambda: member.get("/api/session").status_code == 200,
        seconds=BACK_SECONDS,
        what="the session is back",
    )

    assert member.visit()["visits"] == visits + 1


@pytest.mark.long
def test_program_given_up(start_stack: StartStack) -> None:
    """A worker that cannot be started again ends the whole stack with 1, its name and its reason."""
    stack = start_stack()
    port = stack.worker_ports[0]
    worker = pid_listening(supervisord_pid(stack), port, stack)
    Path(stack.folder / "state/session-secret").write_text("")  # refused at the next start
    os.kill(worker, signal.SIGKILL)
    said, _ = stack.process.communicate(timeout=60)

    assert stack.process.returncode == 1
    assert f"worker-{port} cannot be kept running" in said
    assert "session-secret is empty" in said
    assert not is_listening(stack.http_port)
