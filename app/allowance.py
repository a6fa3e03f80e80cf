"""How much somebody may cause: a bucket of tokens that fills again with time."""

from __future__ import annotations

import time
from collections.abc import Callable


class Allowance:
    """`burst` tokens at once, and then `per_second`; `clock` is in seconds."""

    def __init__(
        self, burst: float, per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._left = burst
        self._at = clock()

    @property
    def full(self) -> bool:
        self._fill()
        return self._left == self._burst

    def take(self) -> bool:
        """Whether there was a token."""
        self._fill()
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def _fill(self) -> None:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
