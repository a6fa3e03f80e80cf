"""The stack in Docker Swarm: this engine alone is the swarm, and leaves it again unless it was in one before."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.swarm.instead import COMMANDS
from lab.operations.cases import Operation, nothing_lost
from lab.operations.measure import measure
from lab.operations.table import Measured
from tests.compose.stack import ROOT, free_port, until

RATE = 90.0
TASKS = 2  # of the workers
START_SECONDS = 120.0  # for tasks to come or go; most of it is for a machine with other work
UPSTREAM = ROOT / "nginx/upstream.conf"
MANY = re.compile(
    r"server app:800[34]"
)  # two workers a task: starting them is most of what the machine does here


@dataclass
class Swarm:
    """One stack of `make swarm-up`, under a name and on ports of its own."""

    name: str
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings |= {
            "SWARM_STACK": self.name,
            "STACK_DIR": str(self.folder),
            "HTTP_PORT": str(self.port),
            "HTTPS_PORT": str(free_port()),
        }

    def make(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """A command of the project for this stack, whatever comes of it."""
        environ = {**os.environ, **self.settings, **settings}
        command = ["make", "--no-print-directory", *words]
        return subprocess.run(
            command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=300, check=False
        )

    def up(self, **settings: str) -> None:
        """`make swarm-up`, which must succeed."""
        result = self.make("swarm-up", **settings)
        assert result.returncode == 0, result.stdout + result.stderr

    def containers(self, service: str) -> list[str]:
        """The ids of the running containers of a service."""
        label = f"label=com.docker.swarm.service.name={self.name}_{service}"
        return docker("ps", "--quiet", "--no-trunc", "--filter", label).split()

    def workers(self, requests: int = 60) -> set[str]:
        """Who answers."""
        with httpx.Client(base_url=self.url, trust_env=False) as client:
            answers = [client.get("/login") for _ in range(requests)]
        return {one.headers["X-Served-By"] for one in answers if one.is_success}

    def settled(self, tasks: int = TASKS) -> bool:
        """Whether that many tasks of the workers run, none is on its way out, and nginx asks each of their workers."""
        return len(self.containers("app")) == tasks and len(self.workers()) == tasks * 2

    def under_load(self, name: str, run: Callable[[], None]) -> Measured:
        """Do it while RATE requests a second go on; what was lost, and which sessions were wrong."""
        operation: Operation[Swarm] = Operation(name, lambda _, __: run(), nothing_lost)
        (found,) = asyncio.run(measure(f"swarm {name}", self, [operation], RATE))  # type: ignore[type-var]
        return found


def docker(*words: str) -> str:
    result = subprocess.run(("docker", *words), capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"docker {' '.join(words)}: {result.stderr}"
    return result.stdout


@contextmanager
def swarm() -> Iterator[None]:
    """A swarm of this engine alone, on loopback; one that it is in already stays."""
    if docker("info", "--format", "{{.Swarm.LocalNodeState}}").strip() == "active":
        yield
        return
    docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    try:
        yield
    finally:
        docker("swarm", "leave", "--force")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    """The demo with two app tasks of two workers each, from a copy of upstream.conf."""
    name = f"test-{secrets.token_hex(4)}"
    folder = tmp_path_factory.mktemp("swarm")
    found = Swarm(name, folder)
    lines = [
        line for line in UPSTREAM.read_text().splitlines(keepends=True) if not MANY.search(line)
    ]
    (folder / "upstream.conf").write_text("".join(lines))
    found.settings["UPSTREAM_CONF"] = str(folder / "upstream.conf")
    with swarm():
        try:
            found.up()
            yield found
        finally:
            found.make("swarm-down")
            remove_volumes(name)


@pytest.fixture
def stack(shared: Swarm) -> Iterator[Swarm]:
    """That stack, settled; what a test changes in upstream.conf is taken back, for the tests come in any order."""
    path = shared.folder / "upstream.conf"
    text = path.read_text()
    until(START_SECONDS, shared.settled)
    yield shared
    if path.read_text() != text:
        path.write_text(text)
        shared.up()


def remove_volumes(name: str) -> None:
    volumes = docker("volume", "ls", "--quiet", "--filter", f"name={name}_").split()
    until(START_SECONDS, lambda: not docker("ps", "--all", "--quiet", "--filter", f"name={name}_"))
    docker("volume", "rm", *volumes)


def update(stack: Swarm, service: str, *words: str) -> None:
    """`docker service update`, watched for two seconds a task so that the test is short; whatever comes of it."""
    short = ("--detach=false", "--quiet", "--update-monitor", "2s")
    command = ("docker", "service", "update", *short, *words, f"{stack.name}_{service}")
    subprocess.run(command, capture_output=True, check=False)


def test_session_on_every_worker(stack: Swarm) -> None:
    """Two tasks of two workers take turns, and a session that one began is the same on all four."""
    assert len(stack.workers()) == 4
    with httpx.Client(base_url=stack.url, trust_env=False) as browser:
        browser.post("/login", data={"username": "ann", "password": "demo", "next": "/"})
        found = [browser.get("/api/session").json() for _ in range(24)]
    assert {one["user"] for one in found} == {"ann"}
    assert sorted(_counts(one["worker"] for one in found).values()) == [6] * 4


def _counts(names: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return found


def test_load_test_passes(stack: Swarm) -> None:
    """`make loadtest` with HOST finds all workers, and every session consistent."""
    short = {"DURATION": "10", "USERS": "12", "REPORT": "0", "OUT": str(stack.folder / "loadtest")}
    command = ["make", "--no-print-directory", "loadtest"]
    environ = {
        **os.environ,
        **short,
        "HOST": stack.url,
        "WORKERS": "8",
        "WEIGHTS": "1,1,1,1,1,1,1,1",
    }
    result = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    said = result.stdout.splitlines()[-1]
    assert " on 4 workers; " in said
    assert " 0 violations; " in said
    assert "Error 10" not in result.stderr


def test_new_tasks_lose_nothing(stack: Swarm) -> None:
    """New tasks for all, as for a new image: no request is lost and no session is wrong."""
    old = stack.containers("app")
    found = stack.under_load("new tasks", lambda: update(stack, "app", "--force"))
    assert found.kept
    assert found.wrong == 0
    until(START_SECONDS, lambda: not set(old) & set(stack.containers("app")))  # the last one drains


def test_scaling_loses_nothing(stack: Swarm) -> None:
    """Three tasks, then two again: nginx follows without a reload, and loses nothing."""

    def scale() -> None:
        for number in (3, 2):
            docker("service", "scale", "--detach=true", f"{stack.name}_app={number}")
            until(START_SECONDS, partial(stack.settled, number))

    found = stack.under_load("scale", scale)
    assert found.kept
    assert found.wrong == 0


def test_bad_image_is_rolled_back(stack: Swarm) -> None:
    """An image that cannot run is taken back by the engine; visitors notice nothing."""
    old = stack.containers("app")
    found = stack.under_load(
        "bad image", lambda: update(stack, "app", "--image", "no-such-image:1")
    )
    assert found.kept
    assert found.wrong == 0
    assert set(stack.containers("app")) <= set(old)


def test_changed_upstream_is_a_reload_in_place(stack: Swarm) -> None:
    """`make swarm-up` with an edited upstream.conf: nginx reloads, loses nothing, and no container is replaced."""
    old = {service: stack.containers(service) for service in ("nginx", "app", "redis")}
    path = stack.folder / "upstream.conf"
    path.write_text(path.read_text().replace("app:8002 ", "app:8002 down "))

    def reload() -> None:
        stack.up()
        until(10, lambda: len(stack.workers()) == 2)

    found = stack.under_load("reload", reload)
    assert found.kept
    assert {service: stack.containers(service) for service in old} == old


def test_refused_upstream_changes_nothing(stack: Swarm) -> None:
    """A mistake in upstream.conf is refused with its line before anything is deployed."""
    path = stack.folder / "upstream.conf"
    good = path.read_text()
    path.write_text(good.replace("zone app 512k;", "zome app 512k;"))
    result = stack.make("swarm-up")
    path.write_text(good)
    assert result.returncode != 0
    assert "upstream.conf" in result.stderr
    assert stack.workers()


@pytest.mark.parametrize(
    "command",
    [("status",), ("reload",), ("scale", "N=3"), ("drain", "W=8002"), ("rolling-restart",)],
    ids=" ".join,
)
def test_operations_name_the_engines_command(stack: Swarm, command: tuple[str, ...]) -> None:
    """Where the stack runs in Swarm, each operation says in one line what to type instead."""
    result = stack.make(*command, STACK="docker", COMPOSE_PROJECT_NAME=stack.name)
    assert result.returncode != 0
    (line,) = (one for one in result.stderr.splitlines() if not one.startswith("make: "))
    instead = COMMANDS[command[0]].format(name=stack.name)
    assert line.endswith(f"{stack.name} runs in Docker Swarm; there it is: {instead}")


def test_no_secret_is_shown(stack: Swarm) -> None:
    """No environment and no config holds a secret, and the files of the manager are for its owner alone."""
    shown = docker(
        "service", "inspect", *(f"{stack.name}_{s}" for s in ("app", "nginx", "redis", "files"))
    )
    kept = stack.folder / "swarm"
    for name in ("session_secrets", "nginx_secret", "redis_url", "redis_password"):
        assert (kept / name).read_text() not in shown
        assert (kept / name).stat().st_mode & 0o077 == 0


def test_settings_of_the_tasks(stack: Swarm) -> None:
    """A setting that is not set is not handed on as an empty one, and one that is set arrives."""
    (task, *_) = stack.containers("app")
    environ = json.loads(docker("inspect", "--format", "{{json .Config.Env}}", task))
    names = {entry.partition("=")[0] for entry in environ if "=" in entry}
    assert "SESSION_SECRETS_FILE" in names
    assert "SESSION_IDLE_SECONDS" not in names
    assert not re.search(r"=$", "\n".join(environ).replace("USERS_FILE=", ""), re.MULTILINE)
