"""The figures of one worker: totals, and what the last minute added to them."""

from __future__ import annotations

from app.metrics import MINUTE, Metrics
from app.sessions import Counters


def figure(metrics: Metrics, name: str) -> float:
    """The value of `name` in the Prometheus text."""
    [line] = [line for line in metrics.text().decode().splitlines() if line.startswith(f"{name} ")]
    return float(line.rpartition(" ")[2])


def test_last_minute() -> None:
    """The last minute is what a total has gained since the note of a minute ago."""
    totals = {"requests": 3, "requests_failed": 1}
    metrics = Metrics()
    watched = {
        "requests": lambda: totals["requests"],
        "requests_failed": lambda: totals["requests_failed"],
    }
    totals |= {"requests": 0, "requests_failed": 0}
    metrics.watch(Counters(), watched, {})
    totals |= {"requests": 3, "requests_failed": 1}
    assert figure(metrics, "requests_last_minute") == 3
    for _ in range(MINUTE):
        metrics.tick()
    totals |= {"requests": 4, "requests_failed": 2}

    assert figure(metrics, "requests_last_minute") == 1
    assert figure(metrics, "requests_failed_last_minute") == 1
    assert figure(metrics, "requests_total") == 4
    assert figure(metrics, "requests_failed_total") == 2
