"""The figures of one worker: totals, and what the last minute added to them."""

from __future__ import annotations

import pytest
from tornado.web import ErrorHandler, RedirectHandler, RequestHandler, StaticFileHandler

from app.metrics import MINUTE, Durations, Metrics
from app.sessions import Counters, StoreUnavailable
from app.sessions.wire.calls import ScriptError


def figure(metrics: Metrics, name: str) -> float:
    """The value of `name` in the Prometheus text."""
    [line] = [line for line in metrics.text().decode().splitlines() if line.startswith(f"{name} ")]
    return float(line.rpartition(" ")[2])


def test_last_minute() -> None:
    """The last minute is what a total has gained since the note of a minute ago."""
    metrics = Metrics()
    metrics.watch(Counters(), {}, {})
    for status in (200, 404, 503):
        metrics.answered(RequestHandler, "GET", status, 0.01)
    assert figure(metrics, "requests_last_minute") == 3
    for _ in range(MINUTE):
        metrics.tick()
    metrics.answered(RequestHandler, "GET", 500, 0.01)

    assert figure(metrics, "requests_last_minute") == 1
    assert figure(metrics, "requests_failed_last_minute") == 1
    assert figure(metrics, "requests_total") == 4
    assert figure(metrics, "requests_failed_total") == 2


def test_routes() -> None:
    """Requests are counted by route, method and status, and timed by route; what has none of ours is `other`."""
    metrics = Metrics()
    metrics.routes = {ErrorHandler: "/here", RedirectHandler: "/there"}
    metrics.watch(Counters(), {}, {})
    for handler, method, status in (
        (ErrorHandler, "GET", 200),
        (ErrorHandler, "GET", 200),
        (ErrorHandler, "POST", 503),
        (RedirectHandler, "GET", 200),
        (RequestHandler, "GET", 404),
        (StaticFileHandler, "GET", 404),
        (StaticFileHandler, "BREW", 405),
    ):
        metrics.answered(handler, method, status, 0.02)

    requests, durations = "http_requests_total", "http_request_duration_seconds"
    for series, value in (
        (requests + '{method="GET",route="/here",status="200"}', 2),
        (requests + '{method="POST",route="/here",status="503"}', 1),
        (requests + '{method="GET",route="/there",status="200"}', 1),
        (requests + '{method="GET",route="other",status="404"}', 2),
        (requests + '{method="other",route="other",status="405"}', 1),
        (durations + '_bucket{le="0.01",route="/here"}', 0),
        (durations + '_bucket{le="0.025",route="/here"}', 3),
        (durations + '_sum{route="/here"}', 0.06),
        (durations + '_count{route="other"}', 3),
    ):
        assert figure(metrics, series) == pytest.approx(value), series


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StoreUnavailable("OOM command not allowed", may_have_happened=False), "oom"),
        (StoreUnavailable("READONLY You can't write", may_have_happened=False), "readonly"),
        (StoreUnavailable("no answer from Redis within 0.5 s", may_have_happened=True), "timeout"),
        (StoreUnavailable("Connection refused", may_have_happened=False), "connection"),
        (
            StoreUnavailable("only 0 of 1 replicas acknowledged the write", may_have_happened=True),
            "not acknowledged",
        ),
        (ScriptError("ERR attempt to index nil"), "script"),
    ],
)
def test_kinds_of_errors(error: StoreUnavailable, kind: str) -> None:
    """Each way that Redis can fail a call is counted under one of a few words."""
    counters = Counters()
    counters.note_error(error)

    assert counters.errors == 1
    assert dict(counters.errors_by_kind) == {(kind,): 1}


def test_buckets() -> None:
    """A duration is in the bucket of its own bound and in all above, as Prometheus has it."""
    durations = Durations((0.1, 1.0))
    for seconds in (0.1, 0.5, 7.0):
        durations.note(seconds)

    assert durations.buckets() == [("0.1", 1), ("1.0", 2), ("+Inf", 3)]
    assert durations.seconds == pytest.approx(7.6)
