"""A worker that counts and times its requests every other moment, for `make bench`: what its figures cost.

One process, as two workers of the same code differ by 10 % and more.  Without its figures it still adds one to
session_loads_total and looks at the clock when Redis answers.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict, dataclass

from app.handlers import api
from app.metrics import Durations, Metrics
from lab.mutants.workers.start import start

MOMENT = 0.02  # seconds


@dataclass
class Moment:
    """What was answered, in how many seconds, and how many of them on the processor."""

    counted: bool
    answers: int = 0
    seconds: float = 0
    processor: float = 0


class Switched(Durations):
    """Notes a duration in every other moment."""

    def note(self, seconds: float) -> None:
        if InTurns.now.counted:
            super().note(seconds)


class InTurns(Metrics):
    """Its page has the moments since the last look in place of figures."""

    now = Moment(counted=True)

    def __init__(self) -> None:
        super().__init__()
        self.store_latency = Switched(self.store_latency.bounds)
        self._moments: list[Moment] = []

    async def keep_time(self) -> None:
        """Take turns until cancelled."""
        while True:
            began, busy = time.perf_counter(), time.process_time()
            await asyncio.sleep(MOMENT)
            moment = InTurns.now
            moment.seconds = time.perf_counter() - began
            moment.processor = time.process_time() - busy
            self._moments.append(moment)
            InTurns.now = Moment(counted=not moment.counted)

    def text(self) -> bytes:
        moments, self._moments = self._moments, []
        return json.dumps([asdict(moment) for moment in moments]).encode()


class SessionInfo(api.SessionInfo):
    """The page that is asked."""

    def on_finish(self) -> None:
        InTurns.now.answers += 1
        self.is_counted = InTurns.now.counted
        super().on_finish()


if __name__ == "__main__":
    api.SessionInfo = SessionInfo  # type: ignore[misc]
    start(Metrics=InTurns)
