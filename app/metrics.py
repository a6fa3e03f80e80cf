"""What this worker counts, in Prometheus text on its own port."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.sessions import Counters

BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5)  # seconds
MINUTE = 60  # seconds
MEANING = {
    "requests": "Requests answered.",
    "requests_failed": "Requests answered with 5xx.",
    "requests_in_flight": "Requests being answered.",
    "event_streams": "Event streams open on this worker.",
    "alerts_dropped": "Alerts that arrived faster than they could be delivered, since the start.",
}
Figures = Mapping[str, Callable[[], int]]


class Metrics(Collector):
    """The figures of one worker; nothing is shared between processes, so Prometheus scrapes each.

    Figures are read at each scrape and cost nothing in between.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.store_latency = Histogram(
            "session_store_seconds",
            "Round trips to Redis, each carrying all that one turn of the event loop asked for.",
            buckets=BUCKETS,
            registry=self._registry,
        )

    def watch(self, engine: Counters, totals: Figures, gauges: Figures) -> None:
        """Report these from now on.  `totals` only rise, and what the last minute added is reported too."""
        self._engine, self._totals, self._gauges = engine, totals, gauges
        self._past: deque[dict[str, int]] = deque([self._read()], maxlen=MINUTE)
        self._registry.register(self)

    async def keep_time(self) -> None:
        """Note the totals each second until cancelled."""
        while True:
            await asyncio.sleep(1)
            self.tick()

    def tick(self) -> None:
        """A second has passed."""
        self._past.append(self._read())

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        for name, value in asdict(self._engine).items():
            yield CounterMetricFamily(f"session_{name}", f"Session engine: {name}.", value=value)
        then = self._past[0]
        for name, total in self._read().items():
            text = MEANING[name]
            yield CounterMetricFamily(name, text, value=total)
            yield GaugeMetricFamily(f"{name}_last_minute", text, value=total - then[name])
        for name, gauge in self._gauges.items():
            yield GaugeMetricFamily(name, MEANING[name], value=gauge())

    def _read(self) -> dict[str, int]:
        return {name: total() for name, total in self._totals.items()}
