"""One run of docker-compose.yml: a project name, a port and volumes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from lab.testbed.servers import free_port

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
SERVICES = ("nginx", "app", "redis")


class Stack:
    """The stack as project `name` with nginx on these ports; `settings` go into Compose's environment."""

    def __init__(self, name: str, port: int, **settings: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        https_port = free_port()
        self.https_url = f"https://127.0.0.1:{https_port}"
        own = {"COMPOSE_PROJECT_NAME": name, "BIND": "127.0.0.1"}
        own |= {"HTTP_PORT": str(port), "HTTPS_PORT": str(https_port)}
        self.environ = {**os.environ, **own, **settings}

    def compose(self, *words: str) -> str:
        """Run `docker compose` and return what it printed; a failure shows its last lines."""
        result = self.attempt(*words)
        assert result.returncode == 0, f"docker compose {' '.join(words)}: {_tail(result)}"
        return result.stdout

    def attempt(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `docker compose`, whatever comes of it."""
        return _run("docker", "compose", *words, env=self.environ)

    def command(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run another command of the project for this stack, whatever comes of it."""
        return _run(*words, env={**self.environ, **settings})

    def up(self) -> None:
        """Start what is not running, and return when every health check passes."""
        result = self.attempt("up", "--detach", "--wait", "--wait-timeout", "120")
        assert result.returncode == 0, (
            f"{_tail(result)}\n{self.attempt('logs', '--tail=20').stdout}"
        )

    def down(self) -> None:
        """Remove containers, networks and volumes."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")

    def containers(self, service: str) -> list[dict[str, Any]]:
        """What the engine knows of each container of a service, running or not."""
        ids = self.compose("ps", "--all", "--quiet", service).split()
        found: list[dict[str, Any]] = json.loads(_run("docker", "inspect", *ids).stdout)
        return found

    def container(self, service: str) -> dict[str, Any]:
        """The only container of a service."""
        (found,) = self.containers(service)
        return found

    def shell(self, service: str, script: str) -> str:
        """What `sh -c script` prints inside the service's container, its errors included."""
        return self.attempt("exec", "-T", service, "sh", "-c", f"({script}) 2>&1").stdout

    def logs(self, service: str) -> tuple[str, str]:
        """Standard output and standard error of a service's container since it was made."""
        result = _run("docker", "logs", self.container(service)["Id"])
        return result.stdout, result.stderr

    def processes(self, service: str) -> list[str]:
        """`pid command` of every process in the service's container, with the host's numbers."""
        listing = _run("docker", "top", self.container(service)["Id"], "-eo", "pid,args").stdout
        return [" ".join(line.split()) for line in listing.splitlines()[1:]]

    @contextmanager
    def visitor(
        self, name: str = "ann", password: str = "demo", *, https: bool = False
    ) -> Iterator[httpx.Client]:
        """A browser that has just logged in; over https it accepts any certificate."""
        url = self.https_url if https else self.url
        with httpx.Client(base_url=url, verify=False, timeout=10, trust_env=False) as browser:
            form = {"username": name, "password": password, "next": "/"}
            answer = browser.post("/login", data=form)
            assert answer.status_code == 302, f"{answer.status_code} {answer.text}"
            yield browser


def answers(browser: httpx.Client, count: int) -> Counter[tuple[str, str]]:
    """How often each (worker, boot) answered `count` requests of this one session."""
    seen: Counter[tuple[str, str]] = Counter()
    for _ in range(count):
        answer = browser.get("/api/session")
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        body = answer.json()
        seen[body["worker"], body["boot"]] += 1
    return seen


def until(seconds: float, question: Callable[[], T]) -> T:
    """Ask again until the answer is true, for at most `seconds`; fails with the last answer."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, f"still {answer!r} after {seconds} s"
        time.sleep(0.1)
    return answer


def _run(*command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=180, check=False
    )


def _tail(result: subprocess.CompletedProcess[str]) -> str:
    return "\n".join((result.stdout + result.stderr).splitlines()[-30:])
