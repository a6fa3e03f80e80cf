"""The page that Prometheus scrapes for the stack as a whole, and its list of workers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from prometheus_client import CollectorRegistry, generate_latest

from deploy.watch.figures import Figures


@contextmanager
def serving(figures: Figures, host: str, port: int) -> Iterator[int]:
    """Answer /metrics and /targets while the block runs; yields the port, a free one for 0.

    /targets is Prometheus's http_sd: workers come and go with each reload.
    """
    registry = CollectorRegistry()
    registry.register(figures)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer("text/plain; version=0.0.4; charset=utf-8", generate_latest(registry))
            elif self.path == "/targets":
                self._answer("application/json", json.dumps(_groups(figures)).encode())
            else:
                self.send_error(404)

        def _answer(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *words: object) -> None:
            """A scrape every few seconds is no news."""

    server = ThreadingHTTPServer((host, port), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def _groups(figures: Figures) -> list[dict[str, object]]:
    return [
        {"targets": [target.address], "labels": {"worker": target.address}}
        for target in figures.targets
    ]
