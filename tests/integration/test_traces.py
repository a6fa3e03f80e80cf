"""Spans of requests: where OpenTelemetry's variables ask for them, and nothing of it anywhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from lab.testbed.servers import RedisServer, wait_until
from lab.testbed.workers import Worker
from tests.integration.conftest import StartWorkers

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
CONSOLE = {"OTEL_TRACES_EXPORTER": "console"}


def stopped(worker: Worker) -> list[dict[str, Any]]:
    """Drain it; the spans that it has written."""
    worker.terminate()
    assert worker.wait(15) == 0
    return [span for line in worker.log.splitlines() if "parent_id" in (span := json.loads(line))]


@contextmanager
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """Its address, and what it has been sent."""
    received: list[tuple[str, bytes]] = []

    class Receive(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Receive) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("settings", [{}, CONSOLE])
def test_what_is_imported(
    settings: dict[str, str], shared_single: RedisServer, tmp_path: Path
) -> None:
    """A worker imports nothing of OpenTelemetry, unless its variables ask for traces."""
    worker = Worker(tmp_path, shared_single.url, PYTHONPROFILEIMPORTTIME="1", **settings)
    worker.start()
    try:
        worker.wait_ready()
    finally:
        worker.stop()
    assert " app.web" in worker.log
    assert (" app.traces" in worker.log) is bool(settings)
    assert (" opentelemetry" in worker.log) is bool(settings)


def test_span_of_a_request(shared_single: RedisServer, start_workers: StartWorkers) -> None:
    """The span of a request has the traceparent as its parent, the route, and no query; a probe has no span.

    A page that runs into PAGE_SECONDS, so that another task answers, has one as well.
    """
    (worker,) = start_workers(shared_single.url, PAGE_SECONDS="1", **CONSOLE)
    with httpx.Client(base_url=worker.url, trust_env=False) as http:
        http.get("/login?next=/hidden", headers=GIVEN)
        http.post("/login", data={"username": "ann", "password": "demo"})
        assert http.get("/slow?ms=5000&kind=wait").status_code == 504
    login, _, late = stopped(worker)

    assert (login["context"]["trace_id"], login["parent_id"]) == (f"0x{TRACE}", f"0x{PARENT}")
    assert (login["name"], login["attributes"]["http.status_code"]) == ("GET /login", 200)
    assert login["resource"]["attributes"]["service.instance.id"] == worker.name
    assert (late["name"], late["attributes"]["http.status_code"]) == ("GET /slow", 504)
    assert "hidden" not in worker.log
    assert "readyz" not in worker.log


def test_collector(shared_single: RedisServer, start_workers: StartWorkers) -> None:
    """With a collector's address alone, spans go there over HTTP."""
    with collector() as (address, received):
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        (worker,) = start_workers(shared_single.url, **settings)
        httpx.get(f"{worker.url}/login", headers=GIVEN, trust_env=False)
        wait_until(lambda: bool(received), seconds=10, what="a span")

    path, body = received[0]
    assert path == "/v1/traces"
    assert bytes.fromhex(TRACE) in body
