"""What is known while a run goes on: for the progress line, and for the tabs of Locust's web page."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Figures:
    """Counts of one generator process, or of all together."""

    requests: int = 0
    failed: int = 0
    unknown: int = 0
    workers: Counter[str] = field(default_factory=Counter)  # answers by worker of the stack
    invariants: dict[str, tuple[int, int]] = field(default_factory=dict)  # checked, violations

    @property
    def violations(self) -> int:
        """All invariants together."""
        return sum(violations for _, violations in self.invariants.values())


def add_up(parts: Iterable[Figures]) -> Figures:
    """The sum over several generator processes."""
    total = Figures()
    for part in parts:
        total.requests += part.requests
        total.failed += part.failed
        total.unknown += part.unknown
        total.workers.update(part.workers)
        for name, (checked, violations) in part.invariants.items():
            before = total.invariants.get(name, (0, 0))
            total.invariants[name] = (before[0] + checked, before[1] + violations)
    return total


def to_message(figures: Figures) -> dict[str, Any]:
    """The figures as a message between processes carries them; `asdict` would spoil the Counter."""
    return {
        "counts": (figures.requests, figures.failed, figures.unknown),
        "workers": dict(figures.workers),
        "invariants": figures.invariants,
    }


def from_message(data: dict[str, Any]) -> Figures:
    """The figures that `to_message` made."""
    pairs = {name: (checked, broken) for name, (checked, broken) in data["invariants"].items()}
    requests, failed, unknown = data["counts"]
    return Figures(requests, failed, unknown, Counter(data["workers"]), pairs)
