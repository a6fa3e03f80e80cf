"""nginx alone and workers alone in Docker, as on two hosts: one project each, joined by an address of this machine."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.free_port import free_ports
from tests.compose.stack import Stack, answers, free_port, until
from tests.compose.test_external_redis import PASSWORD, docker, redis_image, removed
from tests.copies import copy_to

SECRET = "s" * 40


class Hosts:
    """Two projects of one copy of this folder; `address` is that of Docker's bridge, which both reach."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = bridge_address()
        first, second, self.redis_port = free_ports(3)
        self.ports = (min(first, second), min(first, second) + 1)
        lines = "".join(
            f"    server {self.address}:{port} max_fails=1 fail_timeout=1s;\n"
            for port in self.ports
        )
        (folder / "nginx/upstream.conf").write_text(
            f"upstream app {{\n    zone app 512k;\n{lines}}}\n"
        )
        self.url, key = folder / "redis-url", folder / "key"
        self.url.write_text(f"redis://:{PASSWORD}@{self.address}:{self.redis_port}/0\n")
        key.write_text(SECRET)
        for file in (self.url, key):
            file.chmod(0o644)
        name = f"test-{secrets.token_hex(4)}"
        files = ("docker-compose.yml", "deploy/external-redis.yml", "deploy/workers.yml")
        shared = {"NGINX_SECRET": SECRET}
        self.workers = Stack(
            f"{name}-workers",
            free_port(),
            COMPOSE_FILE=":".join(str(folder / file) for file in files),
            ROLE="workers",
            WORKERS_BIND=self.address,
            WORKERS_PORTS=f"{self.ports[0]}-{self.ports[1]}",
            REDIS_URL_FILE=str(self.url),
            SESSION_SECRETS_FILE=str(key),
            **shared,
        )
        compose = str(folder / "docker-compose.yml")
        self.edge = Stack(f"{name}-edge", free_port(), COMPOSE_FILE=compose, ROLE="edge", **shared)

    def operate(self, stack: Stack, *words: str) -> str:
        """What `python -m deploy WORDS` said there."""
        state = str(self.folder / "state" / stack.environ["ROLE"])
        done = subprocess.run(
            [sys.executable, "-m", "deploy", *words],
            cwd=self.folder,
            env={**stack.environ, "STACK": "docker", "ENV_FILE": "", "STACK_DIR": state},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def bridge_address() -> str:
    """Where containers of every network reach what this machine publishes."""
    said = docker("network", "inspect", "bridge").stdout
    return str(json.loads(said)[0]["IPAM"]["Config"][0]["Gateway"])


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Workers first, then nginx, with the commands of docs/several-machines.md."""
    folder = tmp_path_factory.mktemp("hosts")
    folder.chmod(0o755)
    hosts = Hosts(copy_to(folder))
    with removed(f"{hosts.edge.environ['COMPOSE_PROJECT_NAME']}-redis") as redis:
        published = f"{hosts.address}:{hosts.redis_port}:6379"
        command = ("--requirepass", PASSWORD, "--save", "", "--protected-mode", "no")
        image = redis_image(hosts.workers)
        started = docker(
            *("run", "-d", "--name", redis.name, "-p", published),
            *("--entrypoint", "redis-server", image, *command),
        )
        assert started.returncode == 0, started.stderr
        try:
            hosts.workers.compose("up", "--detach", "--no-build", "--wait", "app")
            hosts.edge.compose("run", "--rm", "--no-deps", "https")
            hosts.edge.compose("up", "--detach", "--no-build", "--no-deps", "--wait", "nginx")
            yield hosts
        finally:
            hosts.edge.down()
            hosts.workers.down()


def test_one_site(hosts: Hosts) -> None:
    """A session through the edge is known to both workers; whoever asks a worker past the edge gets 403."""
    with hosts.edge.visitor() as browser:
        # nginx leaves out for a second who was late.
        until(10, lambda: len(answers(browser, 4)) == 2)
    url = f"http://{hosts.address}:{hosts.ports[0]}"
    assert httpx.get(f"{url}/login", trust_env=False).status_code == 403
    assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 200


def test_operations(hosts: Hosts) -> None:
    """Commands on each host see what it has, and an edge can drain a worker of another host."""
    worker = f"{hosts.address}:{hosts.ports[0]}"
    assert f"{worker}  ready, elsewhere" in hosts.operate(hosts.edge, "status")
    assert f"{worker} is idle" in hosts.operate(hosts.edge, "drain", worker)
    hosts.operate(hosts.edge, "undrain", worker)
    assert "nginx     on other hosts" in hosts.operate(hosts.workers, "status")
