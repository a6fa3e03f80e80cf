"""Runs with several generator processes, runs that break off, and Locust's web page."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import httpx
import psutil
import pytest

from deploy.paths import ROOT
from lab.testbed.loadtest import load, start
from loadtest.check.history import read_ops
from loadtest.check.op import Kind
from tests.unit.loadtest.runs import SHORT, double, held_port

LOCUSTFILE = ROOT / "loadtest/locustfile.py"
LONG = (*SHORT, "--duration", "60")
PARTS = "runs/*/history-of-*.jsonl"


def wait_for_load(process: subprocess.Popen[str], workers: int = 4) -> None:
    """Return when the progress line says that all workers of the stack have answered."""
    assert process.stdout is not None
    line = ""
    while "requests/s" not in line or f" {workers} workers" not in line:
        line = process.stdout.readline()
        assert line, "the load test ended before it was under way"


def generators(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Locust's process, and after it the ones that it has started."""
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.long
def test_two_processes(tmp_path: Path) -> None:
    """PROCESSES=2 gives one history, one agreement of both checkers and one verdict over all."""
    with double("none") as host:
        run = load(host, tmp_path, *SHORT, "--processes", "2")
    assert run.code == 0, run.printed
    sessions = {op.session.split("-")[0] for op in read_ops(tmp_path / "history.jsonl")}
    assert sessions == {"g1", "g2"}
    assert sorted(path.name for path in tmp_path.glob("history*")) == ["history.jsonl"]


@pytest.mark.long
def test_lost_process(tmp_path: Path) -> None:
    """A generator process that dies makes the run prove nothing; what it saw is kept apart."""
    with double("none") as host:
        process = start(host, tmp_path, *SHORT, "--processes", "2")
        wait_for_load(process)
        while len(list(tmp_path.glob(PARTS))) < 2:
            time.sleep(0.02)
        generators(process)[1].kill()
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 13, printed
    assert "1 of the generator's processes ended early" in printed
    assert len(list(tmp_path.glob(PARTS))) == 1


@pytest.mark.long
def test_process_elsewhere(tmp_path: Path) -> None:
    """Processes of other machines join with Locust's own command line; their violation stops all."""
    joining = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--worker"]
    joining += ["--master-host", "127.0.0.1", "--loglevel", "ERROR"]
    with double("blind write") as host, held_port() as port:
        options = ("--listen", f"127.0.0.1:{port}", "--processes", "1")
        process = start(host, tmp_path, *LONG, *options)
        worker = subprocess.Popen([*joining, "--master-port", str(port)], cwd=tmp_path)
        try:
            printed, _ = process.communicate(timeout=60)
            assert process.returncode == 10, printed
            assert "VIOLATION of " in printed
            assert "no lost update: " in printed
            assert worker.wait(20) == 0
        finally:
            worker.kill()
            process.kill()


@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=pytest.mark.long)])
def test_interrupted_run_is_judged(processes: str, tmp_path: Path) -> None:
    """Ctrl-C ends the load early; what happened until then still gets its verdict."""
    with double("none") as host:
        process = start(host, tmp_path, *LONG, "--processes", processes)
        wait_for_load(process)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    assert "requests of" in printed.splitlines()[-1]
    assert process.returncode in (0, 13), printed


def locust(
    folder: Path, host: str, *options: str, users: str = "", alone: bool = False
) -> tuple[int, str]:
    """Locust as its users start it, from a folder of their own; its exit code and what it printed.

    `users` is a file of theirs beside ours, or the only one.
    """
    (folder / "mine.py").write_text(users)
    files = f"{LOCUSTFILE},mine.py" if users else str(LOCUSTFILE)
    files = "mine.py" if alone else files
    words = ("--headless", "-u", "8", "-r", "8", "-H", host, *options)
    run = subprocess.run(
        [sys.executable, "-m", "locust", "-f", files, *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "OUT": str(folder / "out"), "RATE": "20", "DURATION": "5"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=90,
        check=False,
    )
    return run.returncode, run.stdout


def ports(port: int) -> tuple[str, ...]:
    """Where Locust's processes meet, if there are several: not at its usual port, which another run may have."""
    return ("--master-bind-port", str(port), "--master-port", str(port))


@pytest.mark.long
@pytest.mark.parametrize("options", [(), ("-t", "5s", "--processes", "2")])
def test_locust_by_itself(options: tuple[str, ...], tmp_path: Path) -> None:
    """`locust -f …/locustfile.py`, from another folder, ends after -t or DURATION, with the verdict and its exit code."""
    with double("none") as host, held_port() as port:
        code, printed = locust(tmp_path, host, *options, *ports(port))
    assert code == 0, printed
    assert printed.splitlines()[-1].startswith("PASS: ")
    assert (tmp_path / "out/history.jsonl").exists()


@pytest.mark.long
def test_locust_master_and_worker(tmp_path: Path) -> None:
    """`locust --master` gathers what a `locust --worker` sends, and ends with the verdict; the worker ends, too."""
    joining = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--worker"]
    with double("none") as host, held_port() as port:
        worker = subprocess.Popen([*joining, *ports(port)], cwd=tmp_path)
        try:
            options = ("--master", "--expect-workers", "1", "-t", "5s", *ports(port))
            code, printed = locust(tmp_path, host, *options)
            assert code == 0, printed
            assert worker.wait(20) == 0
        finally:
            worker.kill()


@pytest.mark.long
def test_locust_by_itself_finds_a_violation(tmp_path: Path) -> None:
    """It ends soon and with the load test's own code when a session was wrong."""
    with double("blind write") as host:
        code, printed = locust(tmp_path, host, "-t", "60s")
    assert code == 10, printed
    assert "exit code 10" in printed.splitlines()[-1]


def test_locust_without_a_stack(tmp_path: Path) -> None:
    """Where nothing answers it says so at once, and ends with the code for that."""
    with held_port() as port:
        code, printed = locust(tmp_path, f"http://127.0.0.1:{port}", "-t", "60s")
    assert code == 14, printed
    assert "nothing usable answers" in printed


OWN_USERS = """
from locust import FastHttpUser, task

class Mine(FastHttpUser):
    @task
    def look(self):
        self.client.get("PATH")
"""


@pytest.mark.long
@pytest.mark.parametrize(("path", "code"), [("/login", 0), ("/nowhere", 12)])
def test_user_class_of_ones_own(path: str, code: int, tmp_path: Path) -> None:
    """A class that somebody adds runs beside the others; its requests are not checked, its failures count."""
    with double("none") as host:
        users = OWN_USERS.replace("PATH", path)
        found, printed = locust(tmp_path, host, "-t", "5s", users=users)
    assert found == code, printed
    sent = json.loads((tmp_path / "out/summary.json").read_text())
    assert sent["locust_requests"] > sent["requests"]


SCENARIO = re.compile(r"```python\n(.*?)```", re.DOTALL)
OWN_DECK = """
import sys
sys.path.insert(0, "ROOT")
from loadtest import locustfile
from loadtest.locustfile import Closed
from loadtest.scenarios import Visitor
SCENARIO
locustfile.DECK = (look_twice, *locustfile.DECK)
"""


@pytest.mark.long
def test_scenario_of_the_documentation(tmp_path: Path) -> None:
    """The scenario that loadtest/README.md shows runs as it stands there."""
    (shown,) = SCENARIO.findall((ROOT / "loadtest/README.md").read_text())
    deck = OWN_DECK.replace("SCENARIO", dedent(f"  {shown.lstrip()}")).replace("ROOT", str(ROOT))
    with double("none") as host:
        code, printed = locust(tmp_path, host, "-t", "5s", users=deck, alone=True)
    assert code == 0, printed
    sessions = defaultdict[str, list[Kind]](list)
    for op in read_ops(tmp_path / "out/history.jsonl"):
        sessions[op.session].append(op.kind)
    alike = [Kind.LOGIN, Kind.VISIT, Kind.VISIT, Kind.READ, Kind.LOGOUT]
    assert any(kinds[: len(alike)] == alike for kinds in sessions.values())


@pytest.mark.long
def test_killed_generator(tmp_path: Path) -> None:
    """A generator that leaves no whole run is a bug of the load test, never a verdict."""
    with double("none") as host:
        process = start(host, tmp_path, *LONG)
        wait_for_load(process)
        generators(process)[0].kill()
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 2, printed
    assert "nothing was proved" in printed.splitlines()[-1]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A load test that waits for somebody to press start, and a client of its web page."""
    with double("none") as host, held_port() as port:
        process = start(host, tmp_path, *SHORT, "--web-port", str(port))
        transport = httpx.HTTPTransport(retries=8)  # until it listens
        address = f"http://127.0.0.1:{port}"
        try:
            with httpx.Client(base_url=address, transport=transport, trust_env=False) as client:
                yield process, client
        finally:
            process.kill()
            process.communicate()


@pytest.mark.long
def test_web_page(page: tuple[subprocess.Popen[str], httpx.Client]) -> None:
    """Locust's page has tabs for the stack's workers and the violations, with counts as it runs."""
    process, client = page
    shown = client.get("/").text
    assert '"num_users": 8' in shown
    assert re.search(r'"run_time": "?4', shown)
    assert '"title": "Workers of the stack"' in shown
    assert '"title": "Violations"' in shown

    client.post("/swarm", data={"user_count": "9", "spawn_rate": "9"}).raise_for_status()
    wait_for_load(process)
    tables = {
        table["key"]: table["data"]
        for table in client.get("/stats/requests").json()["extended_stats"]
    }
    assert [row["name"] for row in tables["stack-workers"]] == ["w1", "w2", "w3", "w4"]
    assert all(row["answers"] > 0 for row in tables["stack-workers"])
    checked = {row["name"]: row["checked"] for row in tables["invariants"]}
    assert checked["read your writes"] > 0

    client.post("/stop").raise_for_status()
    deadline = time.monotonic() + 20
    verdict: list[dict[str, object]] = []
    while not verdict and time.monotonic() < deadline:
        time.sleep(0.2)
        tables = client.get("/stats/requests").json()["extended_stats"]
        verdict = next(table["data"] for table in tables if table["key"] == "verdict")
    assert "requests of" in str(verdict[0]["text"])
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode in (0, 13), printed
    assert "requests of" in printed.splitlines()[-1]


def test_web_page_left_alone(page: tuple[subprocess.Popen[str], httpx.Client]) -> None:
    """When nobody presses start, nothing was proved."""
    process, client = page
    client.get("/").raise_for_status()
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 13, printed
    assert "no run was started" in printed
