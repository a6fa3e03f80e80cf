"""What one worker says of itself on its own port: whether it is ready, and its counters."""

from __future__ import annotations

from collections import Counter
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from deploy.ask import NoAnswer, ask
from deploy.supervisor.health import readiness

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


def worker_figures(port: int) -> dict[str, Any]:
    """`ready`, why not, and the counters; they are missing when the worker does not answer.

    `durations` are the requests since its start that took no longer than so many seconds.
    """
    problem = readiness(port)
    return {"ready": problem is None, "problem": problem, **_counters(port)}


def _counters(port: int) -> dict[str, Any]:
    try:
        answer = ask(f"http://127.0.0.1:{port}", "/metrics", seconds=ASK_SECONDS)
        families = list(text_string_to_metric_families(answer.text))
    except (NoAnswer, ValueError):  # away, or something else is there
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
