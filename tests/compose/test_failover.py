"""deploy/redis/ha.yml: the master's container is killed, and who was logged in still is."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.compose.conftest import running
from tests.compose.stack import ROOT, Stack, free_port, until

FILES = f"{ROOT}/docker-compose.yml:{ROOT}/deploy/redis/ha.yml"


@pytest.fixture
def replicated() -> Iterator[Stack]:
    yield from running(Stack(f"test-{secrets.token_hex(4)}", free_port(), COMPOSE_FILE=FILES))


def test_session_outlives_the_master(replicated: Stack) -> None:
    """A replica takes over within seconds; the session and its count are there, and the killed one comes back as a replica."""
    until(15, lambda: len(replicas(replicated)) == 2)
    with replicated.visitor() as browser:
        assert visit(browser, "first") == 1
        replicated.compose("kill", "redis")
        assert visit(browser, "second") == 2
        replicated.compose("start", "redis")
        assert visit(browser, "third") == 3
        until(30, lambda: len(replicas(replicated)) == 2)


def visit(browser: httpx.Client, operation: str) -> int:
    """The count after one more visit, repeated under its operation id until it is answered."""
    answer = until(20, lambda: _answered(browser, operation))
    return int(answer.json()["visits"])


def _answered(browser: httpx.Client, operation: str) -> Any:
    answer = browser.post("/api/visits", json={"op": operation})
    assert answer.status_code in (200, 503), answer.text
    return answer if answer.status_code == 200 else None


def replicas(stack: Stack) -> list[str]:
    """The replicas that follow the master, as `make status` finds them."""
    script = "python -m deploy inside store"
    text = stack.shell("app", f"{script} | tr ',' '\\n'")
    return [line for line in text.splitlines() if '"state": "online"' in line]
