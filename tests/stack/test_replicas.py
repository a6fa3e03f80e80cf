"""`make run REPLICAS=2`: a master, two replicas and three Sentinels under the same supervisor."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from deploy.native.options import read_options
from deploy.native.progress import replicas_problem
from deploy.native.scratch import Scratch, scratch_stack
from lab.testbed.servers import wait_until
from tests.conftest import UPSTREAM
from tests.stack.operating import operate
from tests.stack.processes import supervisord_of
from tests.stack.visitor import new_visitor

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def stack() -> Iterator[Scratch]:
    with scratch_stack(
        UPSTREAM, os.environ, REPLICAS="2", SESSION_WRITES_ACKNOWLEDGED_BY="1"
    ) as stack:
        yield stack


def redis_of(stack: Scratch) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(operate(stack, "status", "--json")[1])["redis"]
    return facts


def master_of(stack: Scratch) -> str:
    (server,) = redis_of(stack)["servers"]
    return str(server["server"])


def replicas(stack: Scratch) -> list[Any]:
    (server,) = redis_of(stack)["servers"]
    return list(server.get("replicas", []))


def test_nobody_else_gets_in(stack: Scratch) -> None:
    """Files with passwords are for this user alone."""
    files = [*stack.state.glob("redis-with-2-replicas/*/redis.conf"), stack.state / "redis-secret"]
    assert len(files) == 7
    for file in files:
        closed = [path.stat().st_mode for path in (file, file.parent)]
        assert not all(mode & (stat.S_IRGRP | stat.S_IROTH) for mode in closed)


def test_ready_when_a_replica_acknowledges(stack: Scratch) -> None:
    """`make run` waits for a replica that acknowledges writes: without one, the first logins would be 503."""
    options = read_options(stack.settings)
    problem = "none acknowledges what the master writes"
    assert replicas_problem(options) is None
    pids = supervisord_of(stack).pids()
    stopped = [pids["redis-2"], pids["redis-3"]]  # nothing has failed over yet
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: replicas_problem(options) == problem, seconds=5, what=problem)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.long
def test_session_outlives_the_master(stack: Scratch) -> None:
    """`make status` shows replicas and Sentinels; the master falls silent, and is killed: who was logged in still is."""
    wait_until(lambda: len(replicas(stack)) == 2, seconds=15, what="two replicas")
    assert [one["quorum"] for one in redis_of(stack)["sentinels"]] == [2, 2, 2]
    visitor = new_visitor(stack.url)
    visitor.log_in()
    assert visits(visitor, "first") == 1
    supervisord, old = supervisord_of(stack), master_of(stack)
    pid = supervisord.pids()["redis-1"]
    os.kill(pid, signal.SIGSTOP)  # killed, it would be back within a second
    assert visits(visitor, "second") == 2
    assert master_of(stack) != old
    os.kill(pid, signal.SIGKILL)
    assert visits(visitor, "third") == 3
    visitor.close()


def visits(visitor: httpx.Client, operation: str) -> int:
    """The count after one more visit, repeated under its operation id until it is answered."""
    answers: list[httpx.Response] = []

    def answered() -> bool:
        answers.append(visitor.post("/api/visits", json={"op": operation}))
        assert answers[-1].status_code in (200, 503), answers[-1].text
        return answers[-1].status_code == 200

    wait_until(answered, seconds=15, what="an answer")
    return int(answers[-1].json()["visits"])
