"""What this worker counts, in Prometheus text on its own port.  docs/watch.md has the table of all names."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from operator import add

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from tornado.web import RequestHandler

from app.sessions import Counters

STORE_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5)  # seconds
PAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
LAG_BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.25, 1, 5)
MINUTE = 60  # seconds
METHODS = frozenset(RequestHandler.SUPPORTED_METHODS)
OTHER = "other"  # instead of a path or a method that a stranger chose: the number of series stays bounded
MEANING = {
    "requests": "Requests answered.",
    "requests_failed": "Requests answered with 5xx.",
    "requests_last_minute": "Requests answered in the last minute, for `make status`.",
    "requests_failed_last_minute": "Of these, with 5xx.",
    "requests_in_flight": "Requests being answered.",
    "http_requests": "Requests answered, by route, method and status.",
    "http_request_duration_seconds": "From a request's head to the end of its answer.",
    "event_streams": "Event streams open on this worker.",
    "alerts_dropped": "Alerts that arrived faster than they could be delivered.",
    "password_checks_waiting": "Passwords that are being checked, or wait for it.",
    "worker_ready": "1: takes traffic.  0: starting or draining.",
    "worker_starts": "How often supervisord has started this worker.",
    "worker_hangs": "How often the watchdog has replaced this worker because it hung.",
    "event_loop_lag_seconds": "How late the event loop was, looked at once a second.",
    "security_events": "Security events, as docs/security.md lists them.",
    "session_store_errors": "Calls without a usable answer from Redis, by kind.",
    "session_store_seconds": "Round trips to Redis, each with all that one turn of the event loop asked for.",
    "session_loads": "Sessions asked for, found or not.",
    "session_saves": "Changes written: saves, increments and pops.",
    "session_conflicts": "Compare-and-set attempts that another writer was ahead of.",
    "session_gone": "Writes dropped because the session had ended.",
    "session_renewals": "Ids replaced by timed renewal.",
    "session_evicted": "Sessions ended by the cap per user.",
    "session_corrupt": "Sessions ended because they could not be read.",
    "session_errors": "Calls without a usable answer from Redis.",
}
Answer = tuple[type[RequestHandler], str, int]  # who gave it, to which method, and its status
Figures = Mapping[str, Callable[[], int]]
# By name: the names of its labels, and its values by those labels.
Labelled = Mapping[str, tuple[tuple[str, ...], Callable[[], Mapping[tuple[str, ...], int]]]]


class Durations:
    """Observations in buckets; noting one costs a fraction of a microsecond."""

    __slots__ = ("bounds", "counts", "seconds")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.seconds = 0.0

    def note(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds

    def add(self, other: Durations) -> None:
        """Take over what another one with the same bounds has noted."""
        self.counts = list(map(add, self.counts, other.counts))
        self.seconds += other.seconds

    @property
    def total(self) -> int:
        return sum(self.counts)

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus has them: each holds those before it, too."""
        total, found = 0, []
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            found.append(("+Inf" if bound == float("inf") else str(float(bound)), float(total)))
        return found


class Metrics(Collector):
    """The figures of one worker; nothing is shared between processes, so Prometheus scrapes each.

    Figures are read and added up at each scrape, and cost nothing in between; a request costs one look-up and
    one bucket (`make bench` measures it).
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.store_latency = Durations(STORE_BUCKETS)
        self.routes: Mapping[type[RequestHandler], str] = {}  # what is not in it is `other`
        self._answers: dict[Answer, Durations] = defaultdict(_of_pages)
        self._lag = Durations(LAG_BUCKETS)

    def watch(
        self, engine: Counters, totals: Figures, gauges: Figures, labelled: Labelled | None = None
    ) -> None:
        """Report these too from now on; `totals` only rise."""
        self._engine, self._totals, self._gauges = engine, totals, gauges
        self._labelled = labelled or {}
        self._past: deque[dict[str, int]] = deque([self._read()], maxlen=MINUTE)
        self._registry.register(self)

    def answered(
        self, handler: type[RequestHandler], method: str | None, status: int, seconds: float
    ) -> None:
        """Count and time a request that such a handler has just answered."""
        known = method if method in METHODS else OTHER
        self._answers[handler, known, status].note(seconds)

    async def keep_time(self) -> None:
        """Note the totals each second, and how late that second is, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 1
            await asyncio.sleep(1)
            self._lag.note(max(0.0, loop.time() - due))
            self.tick()

    def tick(self) -> None:
        """A second has passed."""
        self._past.append(self._read())

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        yield from self._of_requests()
        yield _histogram("event_loop_lag_seconds", [()], [self._lag])
        yield _histogram("session_store_seconds", [()], [self.store_latency])
        for name, value in asdict(self._engine).items():
            yield CounterMetricFamily(f"session_{name}", MEANING[f"session_{name}"], value=value)
        then = self._past[0]
        for name, total in self._read().items():
            yield CounterMetricFamily(name, MEANING[name], value=total)
            if (lately := f"{name}_last_minute") in MEANING:
                yield GaugeMetricFamily(lately, MEANING[lately], value=total - then[name])
        for name, gauge in self._gauges.items():
            yield GaugeMetricFamily(name, MEANING[name], value=gauge())
        for name, (labels, values) in self._labelled.items():
            yield _counter(name, labels, values())

    def _of_requests(self) -> Iterable[Metric]:
        counts: Counter[tuple[str, ...]] = Counter()
        routes: dict[tuple[str, ...], Durations] = defaultdict(_of_pages)
        for (handler, method, status), answers in self._answers.items():
            route = self.routes.get(handler, OTHER)
            counts[route, method, str(status)] += answers.total
            routes[route,].add(answers)
        yield _counter("http_requests", ("route", "method", "status"), counts)
        yield _histogram("http_request_duration_seconds", routes, routes.values(), labels=["route"])

    def _read(self) -> dict[str, int]:
        """The totals; of these, what the last minute added may be reported too."""
        answers = [(status, one.total) for (*_, status), one in self._answers.items()]
        return {
            "requests": sum(total for _, total in answers),
            "requests_failed": sum(total for status, total in answers if status >= 500),
            **{name: total() for name, total in self._totals.items()},
        }


def _of_pages() -> Durations:
    return Durations(PAGE_BUCKETS)


def _counter(
    name: str, labels: Iterable[str], values: Mapping[tuple[str, ...], int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, MEANING[name], labels=list(labels))
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family


def _histogram(
    name: str,
    keys: Iterable[tuple[str, ...]],
    values: Iterable[Durations],
    labels: list[str] | None = None,
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, MEANING[name], labels=labels or [])
    for key, one in zip(keys, values, strict=True):
        family.add_metric(list(key), one.buckets(), one.seconds)
    return family
