"""Runs with several generator processes, runs that break off, and Locust's web page."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from deploy.paths import ROOT
from lab.testbed.loadtest import load, start
from loadtest.check.history import read_ops
from tests.unit.loadtest.runs import SHORT, double

LOCUSTFILE = ROOT / "loadtest/locustfile.py"
LONG = (*SHORT, "--duration", "60")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


def test_two_processes(tmp_path: Path) -> None:
    """PROCESSES=2 gives one history, one agreement of both checkers and one verdict over all."""
    with double("none") as host:
        run = load(host, tmp_path, *SHORT, "--processes", "2")
    assert run.code == 0, run.printed
    sessions = {op.session.split("-")[0] for op in read_ops(tmp_path / "history.jsonl")}
    assert sessions == {"g1", "g2"}
    assert sorted(path.name for path in tmp_path.glob("history*")) == ["history.jsonl"]


def test_lost_process(tmp_path: Path) -> None:
    """A generator process that dies makes the run prove nothing; what it saw is kept apart."""
    with double("none") as host:
        process = start(host, tmp_path, *SHORT, "--processes", "2")
        wait_for_load(process)
        while len(list(tmp_path.glob("history-of-*.jsonl"))) < 2:
            time.sleep(0.02)
        generators(process)[1].kill()
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 13, printed
    assert "1 of the generator's processes ended early" in printed
    assert len(list(tmp_path.glob("history-of-*.jsonl"))) == 1


def test_process_elsewhere(tmp_path: Path) -> None:
    """Processes of other machines join with Locust's own command line; their violation stops all."""
    port = str(free_port())
    joining = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--worker"]
    with double("blind write") as host:
        options = ("--listen", f"127.0.0.1:{port}", "--processes", "1")
        process = start(host, tmp_path, *LONG, *options)
        worker = subprocess.Popen(
            [*joining, "--master-host", "127.0.0.1", "--master-port", port, "--loglevel", "ERROR"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        try:
            printed, _ = process.communicate(timeout=60)
            assert process.returncode == 10, printed
            assert "VIOLATION of no lost update" in printed
            assert worker.wait(20) == 0
        finally:
            worker.kill()
            process.kill()


@pytest.mark.parametrize("processes", ["1", "2"])
def test_interrupted_run_is_judged(processes: str, tmp_path: Path) -> None:
    """Ctrl-C ends the load early; what happened until then still gets its verdict."""
    with double("none") as host:
        process = start(host, tmp_path, *LONG, "--processes", processes)
        wait_for_load(process)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    assert "requests of" in printed.splitlines()[-1]
    assert process.returncode in (0, 13), printed


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
    port = free_port()
    with double("none") as host:
        process = start(host, tmp_path, *SHORT, "--web-port", str(port))
        transport = httpx.HTTPTransport(retries=8)  # until it listens
        address = f"http://127.0.0.1:{port}"
        try:
            with httpx.Client(base_url=address, transport=transport, trust_env=False) as client:
                yield process, client
        finally:
            process.kill()
            process.communicate()


def test_web_page(page: tuple[subprocess.Popen[str], httpx.Client]) -> None:
    """Locust's page has tabs for the stack's workers and the violations, with counts as it runs."""
    process, client = page
    shown = client.get("/").text
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
