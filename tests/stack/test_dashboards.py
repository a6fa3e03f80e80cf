"""`make watch` on a running stack: it follows the workers, and every query of the dashboards has an answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deploy.free_port import free_ports
from deploy.paths import ROOT
from deploy.watch.prometheus import FILES, Prometheus
from lab.dashboards import draw_dashboards
from lab.testbed.servers import wait_until
from tests.conftest import StartStack
from tests.stack.operating import done, settings_of
from tests.stack.visitor import new_visitor

pytestmark = [pytest.mark.native, pytest.mark.long]
BOARDS = sorted((FILES / "grafana/dashboards").glob("*.json"))
SCRAPED_SECONDS = 30.0  # a rate needs two scrapes, each after 5 s


def queries(worker: str) -> Iterator[tuple[str, str]]:
    """Each query of the dashboards, with its panel; the worker of one page is filled in."""
    for board in BOARDS:
        for panel in json.loads(board.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{board.stem}: {panel['title']}", target["expr"].replace("$worker", worker)


@contextmanager
def make_watch(settings: dict[str, str]) -> Iterator[tuple[Prometheus, str]]:
    """`make watch` while the block runs: its Prometheus, and the first line that it wrote."""
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy", "watch"],
        cwd=ROOT,
        env={**settings, "PROMETHEUS_PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    try:
        yield Prometheus(port), process.stdout.readline()
    finally:
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in said


def test_dashboards(start_stack: StartStack) -> None:
    """Every query returns series, and is drawn; a worker that is added is found, one that is removed is forgotten."""
    stack = start_stack()
    with make_watch(settings_of(stack)) as (prometheus, said), new_visitor(stack.url) as visitor:
        visitor.log_in()

        def up() -> int:
            return len(prometheus.query('up{job="workers"} == 1'))

        worker = f"127.0.0.1:{stack.worker_ports[0]}"

        def empty() -> list[str]:
            for path in ("/", "/api/session", "/static/style.css"):
                visitor.get(path)
            visitor.visit()
            return [what for what, query in queries(worker) if not prometheus.query(query)]

        wait_until(lambda: up() == 4, seconds=30, what="four workers")
        deadline = time.monotonic() + SCRAPED_SECONDS
        while (left := empty()) and time.monotonic() < deadline:
            time.sleep(0.2)

        assert said.startswith(f"{prometheus.url}/alerts   watches the stack of `make run`")
        assert len(list(queries(worker))) > 40
        assert left == []
        assert draw_dashboards({"PROMETHEUS_PORT": prometheus.url.rpartition(":")[2]}) == 0
        for number in (5, 4):
            done(stack, "scale", str(number))
            wait_until(lambda: up() == number, seconds=30, what="as many workers")  # noqa: B023
        # Sooner than WorkerDown fires.
        wait_until(lambda: not prometheus.query("up == 0"), seconds=30, what="that one forgotten")
        assert os.path.isdir(stack.state / "watch/data")
