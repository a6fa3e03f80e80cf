"""Latency distributions as curves: how long at most for which share of requests."""

from array import array
from collections import defaultdict

from loadtest.check.op import Kind, Op
from loadtest.verdict.latency import percentile

DUE = "open arrivals, from the moment they were due"
SENT = "open arrivals, from the moment they were sent"
CLOSED = "closed users, from the moment they sent"
STEPS_A_DECADE = 20


class Curves:
    """Collects latencies of answered requests; those that are slow on purpose are left out."""

    def __init__(self) -> None:
        self._samples: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))

    def add(self, op: Op) -> None:
        """Take note of one request."""
        if not op.status or op.kind is Kind.SLOW:
            return
        if op.intended is None:
            self._samples[CLOSED].append(op.returned - op.invoked)
        else:
            self._samples[DUE].append(op.returned - op.intended)
            self._samples[SENT].append(op.returned - op.invoked)

    def values(self) -> dict[str, list[list[float]]]:
        """Points of each curve: share of requests, and the milliseconds they do not exceed."""
        names = (DUE, SENT, CLOSED)
        return {
            name: _curve(sorted(self._samples[name])) for name in names if name in self._samples
        }


def _curve(ordered: list[int]) -> list[list[float]]:
    """Closer together towards 100 %, up to the slowest single request."""
    points, step = [], 0
    while (rest := 10 ** (-step / STEPS_A_DECADE)) >= 1 / len(ordered):
        points.append([1 - rest, percentile(ordered, 1 - rest) / 1e6])
        step += 1
    return [*points, [1 - 1 / len(ordered) / 2, ordered[-1] / 1e6]]
