"""The stack in Docker with sessions in a Redis that somebody else runs, its password in a file."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.container import docker, removed
from tests.compose.stack import ROOT, Stack, answers, free_port

PASSWORD = secrets.token_hex(12)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Stack]:
    """The stack beside a Redis with a password that Compose did not start, known by a file alone."""
    url = tmp_path / "redis-url"
    url.write_text(f"redis://:{PASSWORD}@elsewhere:6379/0\n")
    url.chmod(0o644)
    name = f"test-{secrets.token_hex(4)}"
    files = f"{ROOT}/docker-compose.yml:{ROOT}/deploy/external-redis.yml"
    stack = Stack(name, free_port(), COMPOSE_FILE=files, REDIS_URL_FILE=str(url))
    with removed(f"{name}-elsewhere") as redis:
        try:
            stack.compose("up", "--no-start")  # makes the network
            start_redis(redis.name, f"{name}_edge", redis_image(stack))
            stack.up()
            yield stack
        finally:
            docker("rm", "--force", redis.name)  # or the network could not be removed
            stack.down()


def redis_image(stack: Stack) -> str:
    """The name of the image that the stack's own Redis would have."""
    text = stack.compose("--profile", "own-redis", "config", "--format", "json")
    return str(json.loads(text)["services"]["redis"]["image"])


def start_redis(name: str, network: str, image: str) -> None:
    """A Redis with PASSWORD, reachable on `network` as `elsewhere`."""
    place = ("--name", name, "--network", network, "--network-alias", "elsewhere")
    command = ("--requirepass", PASSWORD, "--save", "", "--protected-mode", "no")
    started = docker("run", "-d", *place, "--entrypoint", "redis-server", image, *command)
    assert started.returncode == 0, started.stderr


def test_sessions_in_a_given_redis(elsewhere: Stack) -> None:
    """All workers share a session there, no Redis of our own runs, and the password is in no environment."""
    with elsewhere.visitor() as browser:
        assert len(answers(browser, 8)) == 4
    assert "redis" not in elsewhere.compose("ps", "--services").split()
    assert PASSWORD not in str(elsewhere.container("app")["Config"]["Env"])
