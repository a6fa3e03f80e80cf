"""How this worker is: alive, ready, and in figures; on its own port; nginx shows the public one line of it."""

from __future__ import annotations

from typing import Any

from .base import BaseHandler


class Probe(BaseHandler):
    """Asked by machines that watch the worker: not counted among its requests."""

    is_counted = False


class Live(Probe):
    """The process answers: its event loop turns.  Never depends on Redis, or an outage would restart it."""

    def get(self) -> None:
        self.answer_json(200, {"live": True, "boot": self.services.worker.boot})


class Ready(Probe):
    """May take traffic: started and not draining.

    Redis is reported, not required: with one Redis for all, each worker would leave the rotation at
    once, and pages that need no session would go down with the others.
    """

    def get(self) -> None:
        worker = self.services.worker
        body: dict[str, Any] = {
            "ready": worker.ready,
            "in_flight": worker.in_flight,
            "boot": worker.boot,
        }
        if worker.waits_for:
            body["waits_for"] = worker.waits_for
        body["redis_errors"] = self.services.sessions.counters.errors
        self.answer_json(200 if worker.ready else 503, body)


class Health(Probe):
    """As much of that as the public may know: nginx passes it on."""

    def get(self) -> None:
        ready = self.services.worker.ready
        self.answer_json(200 if ready else 503, {"ready": ready})


class MetricsText(Probe):
    """The figures of this worker, in Prometheus text."""

    def get(self) -> None:
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.finish(self.services.metrics.text())
