"""A span of each request, through OpenTelemetry: only where its own variables ask for it (app/settings.py).

Without them nothing of it is imported, and it need not be there: deploy/requirements/traces.txt has the packages.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from threading import Thread
from typing import Any

from tornado.web import RequestHandler

# Probes are no visitors, and the span of an event stream would last for hours.
UNTRACED = "^/(livez|readyz|healthz|metrics|events)$"
WITH_QUERY = ("http.target", "http.url", "url.full")
FLUSH_SECONDS = 2.0  # for the last spans of a worker that stops


def trace_requests(exporter: str, worker: str) -> Callable[[], None]:
    """Trace every request from now on; returns what sends the last spans at the end.

    `exporter` is "otlp", over HTTP, or "console", a JSON line a span on standard output.
    Where to, which share of the traces and under what name is up to OpenTelemetry's variables.
    """
    os.environ.setdefault("OTEL_PYTHON_TORNADO_EXCLUDED_URLS", UNTRACED)  # read by the import below
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.tornado import TornadoInstrumentor
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    ours = Resource({"service.name": "round-robin", "service.instance.id": worker})
    resource = Resource.create().merge(ours).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    console = ConsoleSpanExporter(formatter=lambda span: span.to_json(indent=None) + "\n")
    provider.add_span_processor(
        BatchSpanProcessor(console if exporter == "console" else OTLPSpanExporter())
    )
    # A page that another task ends, a late one or one with a new session id, has its whole span nevertheless.
    logging.getLogger("opentelemetry.context").setLevel(logging.CRITICAL)
    TornadoInstrumentor().instrument(tracer_provider=provider, server_request_hook=_describe)
    return lambda: _within(FLUSH_SECONDS, provider.shutdown)


def _describe(span: Any, handler: RequestHandler) -> None:
    """With the id that both logs have, and without the query, which may hold what must not be stored."""
    if not span.is_recording():
        return
    span.set_attribute("request_id", getattr(handler, "request_id", ""))
    for name in WITH_QUERY:
        if name in span.attributes:
            span.set_attribute(name, handler.request.path)
    if "url.query" in span.attributes:
        span.set_attribute("url.query", "")


def _within(seconds: float, action: Callable[[], None]) -> None:
    """Let `action` take that long; a collector that is away holds up nobody."""
    thread = Thread(target=action, daemon=True)
    thread.start()
    thread.join(seconds)
