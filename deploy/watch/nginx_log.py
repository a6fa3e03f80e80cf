"""What nginx's access log tells: requests by upstream and status, tries that failed, and how long visitors waited.

The packaged nginx has no stub_status page, and that page would know none of these.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # seconds
# Pages that take as long as they are asked to say nothing of how fast the site is.
NOT_TIMED = ("/events", "/slow")


class NginxLog:
    """Counts lines from now on; call `read` often enough that a log is not cut twice in between."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = self._at = 0
        self._requests: Counter[tuple[str, str]] = Counter()
        self._failures: Counter[str] = Counter()
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0
        self._new_lines()  # what was before is not counted

    def read(self) -> None:
        """Count what has been written since the last time, also where the log was cut or replaced."""
        for line in self._new_lines():
            try:
                self._count(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue  # not a line of this format

    def metrics(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "nginx_requests",
            "Requests answered, by nginx itself too.",
            labels=["upstream", "status"],
        )
        for key, count in self._requests.items():
            requests.add_metric(list(key), count)
        failures = CounterMetricFamily(
            "nginx_upstream_failures", "Tries after which another was made.", labels=["upstream"]
        )
        for upstream, count in self._failures.items():
            failures.add_metric([upstream], count)
        durations = HistogramMetricFamily(
            "nginx_request_duration_seconds", "From a request's first byte to its answer's last."
        )
        durations.add_metric([], list(_cumulative(self._buckets)), self._seconds)
        yield from (requests, failures, durations)

    def _count(self, line: dict[str, Any]) -> None:
        *failed, answered = line["upstream"].split(", ")
        self._requests[answered, str(line["status"])] += 1
        self._failures.update(failed)
        if line["path"] not in NOT_TIMED:
            self._buckets[bisect_left(BUCKETS, line["request_time"])] += 1
            self._seconds += line["request_time"]

    def _new_lines(self) -> list[bytes]:
        """Whole lines since the last time; half a line comes with the next."""
        try:
            with self._path.open("rb") as file:
                about = os.fstat(file.fileno())
                if about.st_ino != self._inode or about.st_size < self._at:
                    self._inode, self._at = about.st_ino, 0
                file.seek(self._at)
                text = file.read()
        except FileNotFoundError:
            return []
        whole = text.rfind(b"\n") + 1
        self._at += whole
        return text[:whole].splitlines()


def _cumulative(counts: Iterable[int]) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, count in zip((*map(float, BUCKETS), "+Inf"), counts, strict=True):
        total += count
        yield str(bound), float(total)
