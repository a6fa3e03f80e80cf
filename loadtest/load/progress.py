"""The line that a run prints every few seconds."""

import time
from typing import Protocol

import gevent

from loadtest.load.figures import Figures


class Run(Protocol):
    """What is watched."""

    running: bool
    stopping: bool

    def figures(self) -> Figures:
        """What is known so far."""


def report_progress(run: Run, duration: float) -> None:
    """Print until the run stops. Meant for a greenlet of its own; `duration` 0: without an end."""
    interval = min(5.0, max(1.0, duration / 6)) if duration else 5.0
    start, before = time.monotonic(), 0
    while True:
        gevent.sleep(interval)
        if run.stopping or not run.running:
            return
        elapsed, figures = time.monotonic() - start, run.figures()
        print(_line(figures, elapsed, duration, (figures.requests - before) / interval), flush=True)
        before = figures.requests


def _line(figures: Figures, elapsed: float, duration: float, rate: float) -> str:
    left = f", {max(0.0, duration - elapsed):3.0f} s left" if duration else ""
    return (
        f"  {elapsed:4.0f} s{left}   {rate:6,.0f} requests/s"
        f"   {figures.failed:,} failed"
        f"   {figures.unknown:,} unknown"
        f"   {len(figures.workers)} workers"
        f"   {figures.violations:,} violations"
    )
