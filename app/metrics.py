"""What this worker counts, in Prometheus text on its own port."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.sessions import Counters
from app.traffic import Traffic

BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5)  # seconds
MEANING = {
    "requests_in_flight": "Requests being answered.",
    "event_streams": "Event streams open on this worker.",
    "alerts_dropped": "Alerts that came faster than the streams could be told, since the start.",
}


class Metrics:
    """A registry of one worker; nothing is shared between processes, so Prometheus scrapes each."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.store_latency = Histogram(
            "session_store_seconds",
            "Round trips to Redis, each carrying all that one turn of the event loop asked for.",
            buckets=BUCKETS,
            registry=self._registry,
        )

    def watch(self, counters: Counters, gauges: Mapping[str, Callable[[], int]]) -> None:
        """Report these from now on; they are read at each scrape and cost nothing in between."""
        self._registry.register(_Watched(counters, gauges))

    def watch_traffic(self, traffic: Traffic) -> None:
        """Report how many requests were answered."""
        self._registry.register(_WatchedTraffic(traffic))

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Watched(Collector):
    def __init__(self, counters: Counters, gauges: Mapping[str, Callable[[], int]]) -> None:
        self._counters = counters
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        for name, value in asdict(self._counters).items():
            yield CounterMetricFamily(f"session_{name}", f"Session engine: {name}.", value=value)
        for name, value_now in self._gauges.items():
            yield GaugeMetricFamily(name, MEANING[name], value=value_now())


class _WatchedTraffic(Collector):
    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic

    def collect(self) -> Iterable[Metric]:
        traffic, minute = self._traffic, self._traffic.last_minute()
        yield CounterMetricFamily("requests", "Requests answered.", value=traffic.answered)
        yield CounterMetricFamily("requests_failed", "Answered with 5xx.", value=traffic.failed)
        yield GaugeMetricFamily("requests_last_minute", "Answered in 60 s.", value=minute.answered)
        yield GaugeMetricFamily(
            "requests_failed_last_minute", "Answered with 5xx in 60 s.", value=minute.failed
        )
