"""Operating the stack in Docker under load, with the commands that operate the native one."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from lab.operations.load import Load, failures
from lab.operations.visitor import Result
from tests.compose.conftest import running
from tests.compose.stack import ROOT, Stack, free_port, until

WATCHDOG_SECONDS = 5
RATE = 100.0  # requests a second; a slow machine runs the containers beside it
LEAST_REQUESTS = 200
README = (ROOT / "README.md").read_text()


class Operated:
    """A stack started from a copy of this folder, so that its upstream file may be edited."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.upstream = folder / "nginx/upstream.conf"
        compose = {"COMPOSE_FILE": str(folder / "docker-compose.yml")}
        self._own = {"COMPOSE_PROJECT_NAME": f"test-{secrets.token_hex(4)}", **compose}
        self.stack = Stack(
            self._own["COMPOSE_PROJECT_NAME"],
            free_port(),
            WATCHDOG_SECONDS=str(WATCHDOG_SECONDS),
            **compose,
        )

    def operate(self, *words: str, **changed: str) -> tuple[int, str]:
        """The exit code of `python -m deploy WORDS` in the copy, with changed settings, and what it said."""
        result = subprocess.run(
            [sys.executable, "-m", "deploy", *words],
            cwd=self.folder,
            env={**self.stack.environ, "STACK": "docker", "ENV_FILE": "", **changed},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        return result.returncode, result.stdout + result.stderr

    def done(self, *words: str, **changed: str) -> str:
        code, said = self.operate(*words, **changed)
        assert code == 0, said
        return said

    def edit(self, old: str, new: str) -> None:
        """Change the upstream file as `sed -i` does: a new file takes its name."""
        text = self.upstream.read_text()
        assert old in text, old
        draft = self.upstream.with_suffix(".swp")
        draft.write_text(text.replace(old, new, 1))
        draft.replace(self.upstream)

    def answering(self, count: int = 60) -> set[str]:
        """The ports of the workers that answer requests now."""
        with httpx.Client(base_url=self.stack.url, trust_env=False, timeout=10) as client:
            names = {client.get("/login").headers["X-Served-By"] for _ in range(count)}
        return {name.rpartition(":")[2] for name in names}

    def assert_nothing_lost(self, work: Callable[[], object]) -> None:
        """No request fails and no session is wrong while `work` runs."""
        results = self.under_load(work)
        lost = failures(results, "GET") + failures(results, "POST")
        assert lost == {}, "\n".join(self._failed())
        assert len(results) > LEAST_REQUESTS

    def _failed(self) -> list[str]:
        """nginx's lines of requests that failed: which workers were asked, how long each took."""
        lines = self.stack.logs("nginx")[0].splitlines()
        return [line for line in lines if '"status":5' in line][-5:]

    def under_load(self, work: Callable[[], object]) -> list[Result]:
        """What the load met while `work` ran; fails when a session is wrong."""

        async def run() -> list[Result]:
            load = Load(self.stack.url, RATE)
            await load.log_in()
            async with load.running():
                await asyncio.to_thread(work)
            wrong = [*await load.wrong_sessions(), *load.close()]
            assert wrong == []
            return load.results

        return asyncio.run(run())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    """One stack for this file."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("app", "deploy", "nginx"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "docker-compose.yml", folder)
    folder.chmod(0o755)
    operated = Operated(folder)
    for _ in running(operated.stack):
        yield operated


@pytest.fixture
def operated(shared: Operated) -> Iterator[Operated]:
    """That stack, with its upstream file put back and reloaded afterwards."""
    text = shared.upstream.read_bytes()
    yield shared
    shared.upstream.write_bytes(text)
    shared.done("reload")


def test_edited_by_hand(operated: Operated) -> None:
    """A worker more, one less and a weight, after one edit: started, served, drained, and nothing is lost."""
    operated.edit("server app:8002 ", "server app:8005 ")
    operated.edit("server app:8003 ", "server app:8003 weight=3 ")
    said: list[str] = []
    operated.assert_nothing_lost(lambda: said.append(operated.done("reload")))

    for words in ("+ 8005", "− 8002", "8003 weight 1 → 3"):
        assert words in said[0]
    assert operated.answering() == {"8001", "8003", "8004", "8005"}


def test_scale(operated: Operated) -> None:
    """Four workers become six and then three, without a loss."""

    def scale() -> None:
        operated.done("scale", "6")
        assert len(operated.answering()) == 6
        operated.done("scale", "3")

    operated.assert_nothing_lost(scale)
    assert operated.answering() == {"8001", "8002", "8003"}


def test_drain(operated: Operated) -> None:
    """A drained worker is asked nothing and runs on; both ways cost nothing."""

    def drain() -> None:
        operated.done("drain", "8002")
        assert operated.answering() == {"8001", "8003", "8004"}
        operated.done("undrain", "8002")

    operated.assert_nothing_lost(drain)
    assert "8002" in operated.answering()


def test_rolling_restart(operated: Operated) -> None:
    """Every worker is another process afterwards, nothing is lost, and what a container was not made with is told."""
    operated.done("scale", "3")
    before, said = boots(operated), list[str]()
    operated.assert_nothing_lost(
        lambda: said.append(operated.done("rolling-restart", LOGIN_TRIES="3"))
    )

    assert not before & boots(operated)
    not_yet = "not yet in effect: new settings of app, which `docker compose up --detach` applies"
    assert said[0].splitlines()[-1] == f"3 workers restarted; {not_yet}"


def test_hung_worker(operated: Operated) -> None:
    """A worker that hangs is replaced; its page is 504, others are answered, and one line has the Python stack."""
    with operated.stack.visitor() as browser:
        before = boots(operated)
        page = browser.get("/slow?kind=hang", timeout=60)
        told = until(10, lambda: watchdog_lines(operated))
        until(20, lambda: len(boots(operated)) == len(before))
    (line,) = told

    assert page.status_code == 504
    assert len(before - boots(operated)) == 1
    assert f"has not answered for {WATCHDOG_SECONDS} s: it is killed" in line["message"]
    assert "app/handlers/slow.py" in line["stack"]


def watchdog_lines(operated: Operated) -> list[dict[str, str]]:
    """What the watchdog has logged since the container was made."""
    logged = operated.stack.logs("app")[0].splitlines()
    return [json.loads(line) for line in logged if '"stack":' in line]


def boots(operated: Operated) -> set[str]:
    """The starts of the workers that answer one session."""
    with operated.stack.visitor() as browser:
        return {browser.get("/api/session").json()["boot"] for _ in range(12)}


MISTAKES = {
    "syntax": ("keepalive 128;", "keepalive 128", "upstream.conf"),
    "unknown to nginx": ("keepalive 128;", "least_con;", 'unknown directive "least_con"'),
    "no such name": ("keepalive 128;", "server no.such.invalid:80 resolve;", "cannot be resolved"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_refused(operated: Operated, mistake: str) -> None:
    """What is wrong is said with file and line; the edit stays, and what was applied goes on serving."""
    old, new, words = MISTAKES[mistake]
    operated.edit(old, new)
    code, said = operated.operate("reload")

    assert code == 1
    assert words in said
    assert "nginx/upstream.conf" in said
    assert "keeps serving" in said
    assert len(operated.answering()) == 4


def test_status(operated: Operated) -> None:
    """The figures of the workers, nginx and Redis come out of the containers."""
    facts = json.loads(operated.done("status", "--json"))

    assert facts["healthy"] is True
    assert [worker["ready"] for worker in facts["workers"]] == [True] * 4
    assert facts["nginx"]["processes"] >= 1
    assert facts["redis"]["version"]
    assert [one["program"] for one in facts["openssl"] if one["version"]] == ["nginx", "Python"]


def test_lists_of_all_parts(operated: Operated) -> None:
    """`make sbom` lists what is in each image: the system, its packages, and Python's."""
    said = operated.done("sbom")
    lists = [json.loads(path.read_text()) for path in operated.folder.glob(".stack/sbom/image-*")]
    parts = {
        one["metadata"]["component"]["name"]: {part["name"] for part in one["components"]}
        for one in lists
    }

    assert "not here" not in said
    assert len(parts) == 4
    assert all({"debian", "libc6"} <= names for names in parts.values())
    assert sorted("tornado" in names for names in parts.values()) == [False, False, False, True]
    assert sorted("locust" in names for names in parts.values()) == [False, False, False, True]


def test_found_without_being_named(operated: Operated) -> None:
    """A load test without HOST or STACK meets the running containers of this folder, and knows their workers."""
    show = 'echo "load: $HOST $WORKERS"'
    said = operated.done("with-stack", "--", "sh", "-c", show, STACK="")

    assert f"load: {operated.stack.url} 4\n" in said


def test_more_containers(operated: Operated) -> None:
    """A second container is followed without a loss, and so is its end; a reload changes both."""
    workers: list[dict[str, object]] = []

    def grow_and_shrink() -> None:
        to = ("up", "--detach", "--wait", "--no-recreate", "--scale")
        operated.stack.compose(*to, "app=2")
        operated.done("scale", "2")
        workers.extend(json.loads(operated.done("status", "--json"))["workers"])
        operated.stack.compose(*to, "app=1")

    operated.assert_nothing_lost(grow_and_shrink)
    assert len({str(worker["worker"]).rpartition(":")[0] for worker in workers}) == 2
    assert [worker["port"] for worker in workers] == [8001, 8002] * 2


def test_new_code(operated: Operated) -> None:
    """The README's commands for a new image put new code in place of the old, and nothing is lost."""
    (commands,) = re.findall(r"```sh\n(docker compose build app .*?)```", README, re.DOTALL)
    (operated.folder / "app/__init__.py").write_text('"""New code."""\n')
    results: list[subprocess.CompletedProcess[str]] = []

    def deploy() -> None:
        results.append(operated.stack.command("bash", "-euc", commands))

    operated.assert_nothing_lost(deploy)
    assert results[0].returncode == 0, results[0].stderr
    assert "New code" in operated.stack.shell("app", "cat app/__init__.py")


def test_recreated_container(operated: Operated) -> None:
    """While the only app container is replaced nobody can answer; once it is ready, nothing is lost any more."""
    ready: list[float] = []

    def recreate() -> None:
        operated.stack.compose("up", "--detach", "--no-deps", "--force-recreate", "--wait", "app")
        ready.append(time.monotonic())
        time.sleep(3)

    results = [result for result in operated.under_load(recreate) if result.began > ready[0]]

    assert failures(results, "GET") + failures(results, "POST") == {}
    assert len(results) > LEAST_REQUESTS
