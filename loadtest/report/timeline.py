"""Answers of each worker over the time of a run, in equal intervals."""

from collections import Counter, defaultdict
from typing import Any

from loadtest.check.op import Op

MOST_INTERVALS = 60
INTERVALS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)  # seconds


class Timeline:
    """Counts requests by worker and by when they returned. Feed it a history in any order."""

    def __init__(self, seconds: float) -> None:
        fitting = (step for step in INTERVALS if step * MOST_INTERVALS >= seconds)
        self.interval = next(fitting, INTERVALS[-1])
        self._moments: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._begin: int | None = None

    def add(self, op: Op) -> None:
        """Count one request; those without a worker have had no answer of the application."""
        # Tenths of a second: fine enough to be put into intervals once the start is known.
        self._moments[op.worker or ""][op.returned // 10**8] += 1
        start = op.invoked // 10**8
        self._begin = start if self._begin is None else min(start, self._begin)

    def values(self) -> dict[str, Any]:
        """`interval` in seconds, `answers` by worker and `unanswered`, one count an interval."""
        begin, tenths = self._begin or 0, round(self.interval * 10)
        last = max((max(found) for found in self._moments.values()), default=begin)
        count = (last - begin) // tenths + 1
        rows = {name: [0] * count for name in sorted(self._moments)}
        for name, found in self._moments.items():
            for moment, number in found.items():
                rows[name][(moment - begin) // tenths] += number
        unanswered = rows.pop("", [0] * count)
        return {"interval": self.interval, "answers": rows, "unanswered": unanswered}
