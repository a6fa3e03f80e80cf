"""How requests spread over workers: exact counts, and how sessions hop from worker to worker."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from loadtest.operations import Op


@dataclass(slots=True)
class Spread:
    """Counts by worker, and by (worker, worker of the session's next request)."""

    requests: Counter[str] = field(default_factory=Counter)
    hops: Counter[tuple[str, str]] = field(default_factory=Counter)
    unnamed: int = 0  # answers of the application that did not say which worker gave them

    @property
    def workers(self) -> list[str]:
        """The workers that answered, in order of their names."""
        return sorted(self.requests)

    @property
    def difference(self) -> int:
        """The busiest worker's requests minus the quietest one's."""
        counts = self.requests.values()
        return max(counts) - min(counts) if counts else 0

    @property
    def ratio(self) -> float:
        """The busiest worker's requests by the quietest one's; 0 when there are none."""
        counts = self.requests.values()
        return max(counts) / min(counts) if counts else 0.0

    @property
    def hop_ratio(self) -> float:
        """The share of consecutive requests of a session that two workers answered.

        Round robin over k workers gives about (k-1)/k; a sticky balancer gives 0.
        """
        pairs = self.hops.total()
        return sum(n for (one, two), n in self.hops.items() if one != two) / pairs if pairs else 0.0


def measure(ops: Iterable[Op]) -> Spread:
    """Count a history. Requests follow each other in the order they were sent."""
    spread = Spread()
    sessions: defaultdict[str, list[Op]] = defaultdict(list)
    for op in ops:
        if op.worker:
            spread.requests[op.worker] += 1
            sessions[op.session].append(op)
        elif op.status and op.status < 400:
            spread.unnamed += 1
    for own in sessions.values():
        own.sort(key=lambda op: op.invoked)
        names = [op.worker or "" for op in own]
        spread.hops.update(pairwise(names))
    return spread
