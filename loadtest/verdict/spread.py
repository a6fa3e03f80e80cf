"""How requests spread over workers: exact counts, hops from worker to worker, and the order of a rotation."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from loadtest.check.op import Op

Weights = tuple[int, ...]  # of the upstream's servers in any order; none: all the same


@dataclass(slots=True)
class Spread:
    """Counts by worker, and by (worker, worker of the session's next request)."""

    requests: Counter[str] = field(default_factory=Counter)
    hops: Counter[tuple[str, str]] = field(default_factory=Counter)
    unnamed: int = 0  # answers of the application that did not say which worker gave them
    weights: Weights = ()

    @property
    def workers(self) -> list[str]:
        """The workers that answered, in order of their names."""
        return sorted(self.requests)

    @property
    def rotations(self) -> list[float]:
        """Each worker's requests by its weight: how often the rotation came to its end for it.

        Which worker has which weight is not known; the busiest is taken for the heaviest.
        """
        counts = sorted(self.requests.values(), reverse=True)
        weights = sorted(fitting(self.weights, len(counts)), reverse=True)
        return [count / weight for count, weight in zip(counts, weights, strict=True)]

    @property
    def difference(self) -> int:
        """The busiest worker's requests minus the quietest one's, by their weights."""
        turns = self.rotations
        return round(max(turns) - min(turns)) if turns else 0

    @property
    def ratio(self) -> float:
        """The busiest worker's requests by the quietest one's, by their weights; 0: there are none."""
        turns = self.rotations
        return max(turns) / min(turns) if turns else 0.0

    @property
    def chance_hops(self) -> float:
        """The hop ratio if every request went to any worker by chance: (k-1)/k for equal weights."""
        weights = fitting(self.weights, len(self.requests))
        total = sum(weights)
        return 1 - sum((weight / total) ** 2 for weight in weights) if total else 0.0

    @property
    def hop_ratio(self) -> float:
        """The share of consecutive requests of a session that two workers answered.

        Round robin gives about what chance gives; a sticky balancer gives 0.
        """
        pairs = self.hops.total()
        return sum(n for (one, two), n in self.hops.items() if one != two) / pairs if pairs else 0.0


def measure(ops: Iterable[Op], weights: Weights = ()) -> Spread:
    """Count a history. Requests follow each other in the order they were sent."""
    spread = Spread(weights=weights)
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


def rotation_share(names: Sequence[str], weights: Weights = (), workers: int = 0) -> float:
    """How much of `names`, who answered requests sent one by one, is in the order of a rotation.

    `workers`: how many there are, if more than these names.

    Round robin repeats itself after as many requests as all weights together, and each worker has its
    weight's turns meanwhile: nearly 1, less what other visitors took. With four workers chance gives 0.02.
    """
    known = sorted(fitting(weights, max(workers, len(set(names)))))
    step = sum(known)
    starts = range(len(names) - step)
    if not known or not starts:
        return 1.0
    in_order = sum(
        names[at] == names[at + step] and sorted(Counter(names[at : at + step]).values()) == known
        for at in starts
    )
    return in_order / len(starts)


def fitting(weights: Weights, count: int) -> Weights:
    """The weights of `count` workers: as listed, or all the same when the list is of other workers."""
    return weights if len(weights) == count else (1,) * count
