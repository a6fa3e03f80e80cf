"""Pictures of the dashboards, where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from deploy.refused import Refused
from lab.dashboards import draw_dashboards


@contextmanager
def answering(text: str) -> Iterator[int]:
    """A server that answers every request with `text`; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *words: object) -> None:
            """No output."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"status": "success", "data": {"result": []}}', "knows no worker"),
        ("hello", "no Prometheus answers"),
        ("{}", "no Prometheus answers"),
    ],
)
def test_no_workers(text: str, reason: str) -> None:
    """A Prometheus that knows no worker that is up, and another program on its port, are refused in a sentence."""
    with answering(text) as port, pytest.raises(Refused, match=reason):
        draw_dashboards({"PROMETHEUS_PORT": str(port)})
