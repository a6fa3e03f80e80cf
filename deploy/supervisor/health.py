"""What one worker says of itself on its own port: whether it is ready, and its counters."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from deploy.ask import NoAnswer, ask
from deploy.networks import in_url

ASK_SECONDS = 1.0
WANTED = {
    "requests_in_flight": "in_flight",
    "requests_total": "requests",
    "requests_failed_total": "errors",
    "requests_last_minute": "requests_last_minute",
    "requests_failed_last_minute": "errors_last_minute",
    "event_streams": "streams",
}
DURATIONS = "http_request_duration_seconds_bucket"


def readiness(port: int, *, host: str = "127.0.0.1", path: str = "/readyz") -> str | None:
    """None when GET `path` answers 200 within a second; otherwise what came instead.

    A worker that is not ready says itself what it waits for.
    """
    try:
        answer = ask(f"http://{in_url(host)}:{port}", path, seconds=1)
    except NoAnswer as error:
        return str(error)
    return not_ready(answer.status, answer.text)


def not_ready(status: int, text: str) -> str | None:
    """What an answer of /readyz says; None when the worker is ready."""
    return None if status == 200 else _waits_for(text) or f"{status} {text[:500]}"


def _waits_for(text: str) -> str | None:
    try:
        reason = json.loads(text)["waits_for"]
    except (ValueError, LookupError, TypeError):
        return None
    return f"waits for Redis: {reason}"


def worker_figures(port: int, host: str = "127.0.0.1") -> dict[str, Any]:
    """`ready`, why not, and the counters; they are missing when the worker does not answer.

    `durations` are the requests since its start that took no longer than so many seconds.
    """
    problem = readiness(port, host=host)
    try:
        metrics = ask(f"http://{in_url(host)}:{port}", "/metrics", seconds=ASK_SECONDS).text
    except NoAnswer:
        metrics = ""
    return {"ready": problem is None, "problem": problem, **_counters(metrics)}


def figures_from(status: int, readyz: str, metrics: str) -> dict[str, Any]:
    """The same of a worker that somebody else has asked: the answer of /readyz, and /metrics."""
    problem = not_ready(status, readyz)
    return {"ready": problem is None, "problem": problem, **_counters(metrics)}


def _counters(metrics: str) -> dict[str, Any]:
    # Takes longer to import than all else, and the container's health check looks at no counter.
    from prometheus_client.parser import text_string_to_metric_families

    try:
        families = list(text_string_to_metric_families(metrics))
    except ValueError:  # something else is there
        return {}
    samples = [sample for family in families for sample in family.samples]
    found: dict[str, Any] = {WANTED[s.name]: int(s.value) for s in samples if s.name in WANTED}
    if "in_flight" in found:
        found["in_flight"] -= 1  # this very question
    durations: Counter[str] = Counter()
    for sample in samples:
        if sample.name == DURATIONS:
            durations[sample.labels["le"]] += int(sample.value)
    return {**found, "durations": dict(durations)}
