"""What a running stack tells Prometheus: exactly what docs/watch.md lists, in a bounded number of series."""

from __future__ import annotations

import re
import socket

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.native.options import read_options
from deploy.native.scratch import Scratch
from deploy.operations.native import find_native
from deploy.paths import ROOT
from deploy.watch.figures import Figures
from deploy.watch.native import sources_of
from deploy.watch.serve import serving
from lab.testbed.servers import wait_until
from tests.documents import sections
from tests.stack.visitor import new_visitor

pytestmark = pytest.mark.native
PAGE = (ROOT / "docs/watch.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|([^|]*)\| \S.* \|$", re.MULTILINE)
Row = tuple[str, str, str]


def documented(title: str) -> set[Row]:
    """Name, type and labels of each metric in the table under `title`."""
    return {
        (name, kind, " ".join(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in ROW.findall(sections(PAGE)[title])
    }


def exposed(text: str) -> set[Row]:
    """The same of an exposition; metrics that have no sample yet are left out."""
    found = set()
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        for sample in family.samples:
            labels = sorted(sample.labels.keys() - {"le"})
            found.add((name, family.type, " ".join(labels)))
    return found


def metrics(port: int) -> str:
    return httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text


def raw(port: int, line: str) -> None:
    """One request, whatever `line` says, to its end."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        while connection.recv(4096):
            pass


def test_workers_metrics(stack: Scratch) -> None:
    """A worker exposes the metrics of the table, with their types and labels, and no other."""
    with new_visitor(stack.url) as visitor:
        visitor.log_in()
    found = set().union(*(exposed(metrics(port)) for port in stack.worker_ports))
    # Of Redis's errors there is none on a stack that is well.
    assert found | {("session_store_errors_total", "counter", "kind")} == documented(
        "Metrics of a worker"
    )


def test_strangers_add_no_series(stack: Scratch) -> None:
    """Paths and methods that a stranger makes up are counted together: the series do not grow."""
    port = stack.worker_ports[0]
    for line in ("GET /nowhere", "BREW /login"):
        raw(port, line)
    before = metrics(port)
    for number in range(20):
        raw(port, f"GET /{number}")
        raw(port, f"BREW{number} /login")
    after = metrics(port)

    assert len(after.splitlines()) == len(before.splitlines())
    assert '{method="other",route="/login",status="405"}' in after
    assert '{method="GET",route="other",status="404"}' in after


def test_stacks_metrics(stack: Scratch) -> None:
    """`make watch` serves the metrics of the table, with their types and labels, and no other."""
    found = find_native(read_options(stack.settings))
    assert found is not None
    figures = Figures(sources_of(found))
    with new_visitor(stack.url) as visitor:
        visitor.log_in()
    with serving(figures, "127.0.0.1", 0) as port:

        def counts_requests() -> bool:
            """nginx answers before it logs."""
            figures.look()
            return "nginx_requests_total{" in metrics(port)

        wait_until(counts_requests, seconds=10, what="nginx's log of the login")
        text = metrics(port)
        groups = httpx.get(f"http://127.0.0.1:{port}/targets", trust_env=False).json()

    # On one Redis that is well there is no replica, and no worker has failed.
    elsewhere = {
        ("store_replica_lag_seconds", "gauge", "replica server"),
        ("store_replica_behind_bytes", "gauge", "replica server"),
        ("nginx_upstream_failures_total", "counter", "upstream"),
    }
    assert exposed(text) | elsewhere == documented("Metrics of the stack")
    assert "site_serves 1.0" in text
    assert "store_up 1.0" in text
    assert groups == [
        {"targets": [address], "labels": {"worker": address}}
        for address in (f"127.0.0.1:{port}" for port in stack.worker_ports)
    ]
