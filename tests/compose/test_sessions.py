"""One session over four workers in Docker, and what happens to it when parts of the stack end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx

from deploy.upstream.read import read_upstream
from tests.compose.stack import ROOT, Stack, answers, until

SERVED = len(read_upstream(ROOT / "nginx" / "upstream.conf").served)


def test_ready_when_up_returns(stack: Stack) -> None:
    """After `up --wait` the first request is answered, and nothing had to be prepared."""
    answer = httpx.get(stack.url, trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (302, "/login?next=%2F")


def test_every_worker_knows_the_session(browser: httpx.Client) -> None:
    """The workers of upstream.conf answer one session in equal shares."""
    # The health check through nginx takes its turn in the rotation too, so shares may differ by one or two.
    shares = answers(browser, 10 * SERVED)
    assert len(shares) == SERVED
    assert max(shares.values()) - min(shares.values()) <= 2


def test_restart_keeps_the_session(stack: Stack, browser: httpx.Client) -> None:
    """After `docker compose restart` the same cookie is still logged in, with its data."""
    before = browser.post("/api/visits", json={"op": "before"}).json()["visits"]
    stack.compose("restart")
    stack.up()
    assert browser.post("/api/visits", json={"op": "after"}).json()["visits"] == before + 1


def test_recreated_containers_keep_the_session(stack: Stack, browser: httpx.Client) -> None:
    """New containers on the old volumes read the old cookie: secret and sessions both outlive them."""
    stack.compose("up", "--detach", "--wait", "--force-recreate")
    assert browser.get("/api/session").json()["user"] == "ann"


def test_killed_worker_comes_back(stack: Stack, browser: httpx.Client) -> None:
    """A worker killed with SIGKILL is replaced within ten seconds, and no GET fails meanwhile."""
    before = set(answers(browser, 2 * SERVED))
    # [8]002: a pattern that does not match the shell that carries it.
    victim = "tr '\\0' ' ' <$p/cmdline | grep -q 'app --port [8]002'"
    stack.shell("app", f"for p in /proc/[0-9]*; do {victim} && kill -9 ${{p#/proc/}}; done")
    replaced = until(10, lambda: set(answers(browser, 2 * SERVED)) - before)
    assert [worker.rsplit(":")[-1] for worker, _ in replaced] == ["8002"]


def test_administrator_ends_sessions(stack: Stack, tmp_path: Path) -> None:
    """`make end-sessions USER=eve` logs eve out of the stack in Docker, too."""
    with stack.visitor("eve") as browser:
        ended = stack.command("make", "end-sessions", "USER=eve", STACK_DIR=str(tmp_path))
        assert ended.stdout.endswith("1 session of eve ended\n"), ended.stderr
        assert browser.get("/api/session").status_code == 401


def test_stop_drains(stack: Stack) -> None:
    """`docker compose stop app` ends by itself with exit code 0, well within the grace period."""
    stack.compose("stop", "app")
    state = stack.container("app")["State"]
    stack.up()
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)


def test_scaling_is_followed(stack: Stack, browser: httpx.Client) -> None:
    """`--scale app=2` doubles the workers that answer one session, `app=1` halves them, without a reload of nginx."""
    before = stack.processes("nginx")
    scale(stack, 2)
    until(15, lambda: len(answers(browser, 4 * SERVED)) == 2 * SERVED)
    scale(stack, 1)
    # For two seconds Docker's name server still lists the container that has gone; a 502 is possible then.
    until(15, lambda: {browser.get("/api/session").status_code for _ in range(4 * SERVED)} == {200})
    assert len(answers(browser, 4 * SERVED)) == SERVED
    assert stack.processes("nginx") == before


def test_a_container_dies(stack: Stack, browser: httpx.Client) -> None:
    """With APP_CONTAINERS=2 the first process of one may be killed, and every page is answered all the same."""
    two = stack.command(
        *("docker", "compose", "up", "--detach", "--wait", "--no-recreate"), APP_CONTAINERS="2"
    )
    assert two.returncode == 0, two.stderr
    until(15, lambda: len(answers(browser, 4 * SERVED)) == 2 * SERVED)
    os.kill(stack.containers("app")[0]["State"]["Pid"], signal.SIGKILL)
    seen = answers(browser, 25 * SERVED)  # fails at the first answer that is not 200
    assert len(seen) < 2 * SERVED
    stack.up()


def test_edited_folder_is_seen(stack: Stack) -> None:
    """The containers see nginx/ of the host as a folder, so a replaced file is read anew."""
    host = Path(ROOT / "nginx" / "upstream.conf").read_text()
    assert stack.shell("nginx", "cat /etc/nginx/stack/upstream.conf") == host
    assert stack.shell("app", "cat nginx/upstream.conf") == host


def scale(stack: Stack, containers: int) -> None:
    """Have so many app containers, without making the others anew."""
    count = f"app={containers}"
    stack.compose("up", "--detach", "--wait", "--no-recreate", "--scale", count)
