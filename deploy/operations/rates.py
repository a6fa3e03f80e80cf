"""From the totals of two looks at the workers: requests and errors a second, shares, and quantiles of durations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

LEAST_REQUESTS = 20  # between two looks: fewer say nothing about a spread
Worker = Mapping[str, Any]  # as worker_figures has it


class Rates(NamedTuple):
    """Of one worker between two looks; durations in seconds, None without a request."""

    requests: float  # a second
    errors: float  # a second
    share: float | None
    p50: float | None
    p99: float | None
    total: int  # requests between the two


def rates(
    now: Sequence[Worker], before: Sequence[Worker] | None, seconds: float
) -> dict[str, Rates]:
    """By worker; none for one that does not answer, and none at all at the first look."""
    if before is None:
        return {}
    known = {worker["worker"]: worker for worker in before}
    counts, found = {}, {}
    for worker in now:
        if "requests" in worker:
            counts[worker["worker"]] = _gained(worker, known.get(worker["worker"], {}))
    total = sum(count for count, _, _ in counts.values())
    for name, (count, errors, durations) in counts.items():
        share = count / total if total else None
        p50, p99 = quantile(durations, 0.5), quantile(durations, 0.99)
        found[name] = Rates(count / seconds, errors / seconds, share, p50, p99, count)
    return found


def spread(found: Iterable[Rates]) -> float | None:
    """Requests of the busiest worker for one of the idlest; None when there are too few to say."""
    counts = [one.total for one in found]
    if not counts or min(counts) < LEAST_REQUESTS:
        return None
    return max(counts) / min(counts)


def quantile(buckets: Mapping[str, int], share: float) -> float | None:
    """As Prometheus estimates it: a straight line through the bucket; its lower bound where it has no upper."""
    total = buckets.get("+Inf", 0)
    if not total:
        return None
    wanted, lower, below = share * total, 0.0, 0
    for bound, count in sorted(buckets.items(), key=lambda pair: float(pair[0])):
        if count >= wanted:
            if bound == "+Inf":
                return lower
            return lower + (float(bound) - lower) * (wanted - below) / max(1, count - below)
        lower, below = float(bound), count
    return lower


def _gained(now: Worker, before: Worker) -> tuple[int, int, dict[str, int]]:
    """What was added; all there is of a worker that has started since."""
    if before.get("requests", 0) > now["requests"]:
        before = {}
    then = before.get("durations", {})
    durations = {bound: count - then.get(bound, 0) for bound, count in now["durations"].items()}
    errors = now["errors"] - before.get("errors", 0)
    return now["requests"] - before.get("requests", 0), errors, durations
