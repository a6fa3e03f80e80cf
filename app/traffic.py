"""How many requests this worker has answered, in all and in the last minute."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

SECONDS = 60


@dataclass(frozen=True)
class Count:
    """`failed`: answered with 500 or above."""

    answered: int = 0
    failed: int = 0


class Traffic:
    """Counting costs an addition a request; the last minute is told from one note a second."""

    def __init__(self) -> None:
        self.answered = 0
        self.failed = 0
        self._past: deque[Count] = deque([Count()], maxlen=SECONDS)

    def note(self, status: int) -> None:
        """One request was answered with `status`."""
        self.answered += 1
        if status >= 500:
            self.failed += 1

    def last_minute(self) -> Count:
        """What was answered in the last 60 seconds, or since the start when that is less."""
        then = self._past[0]
        return Count(self.answered - then.answered, self.failed - then.failed)

    def tick(self) -> None:
        """A second has passed."""
        self._past.append(Count(self.answered, self.failed))

    async def keep_time(self) -> None:
        """Tick each second until cancelled."""
        while True:
            await asyncio.sleep(1)
            self.tick()
