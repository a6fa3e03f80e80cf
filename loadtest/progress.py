"""The line that a run prints every few seconds."""

import os
import time

import gevent

from loadtest.generator import Generator
from loadtest.operations import Outcome


def report_progress(generator: Generator, duration: float) -> None:
    """Print until the run stops. Meant for a greenlet of its own.

    It ends the run when the process that started it is gone: nobody would read the verdict.
    """
    interval = min(5.0, max(1.0, duration / 6))
    start, before, parent = time.monotonic(), 0, os.getppid()
    while True:
        gevent.sleep(interval)
        if generator.stopping:
            return
        if os.getppid() != parent:
            generator.quit()
            return
        elapsed, now = time.monotonic() - start, generator.recorder.requests
        print(_line(generator, elapsed, duration, (now - before) / interval), flush=True)
        before = now


def _line(generator: Generator, elapsed: float, duration: float, rate: float) -> str:
    recorder = generator.recorder
    return (
        f"  {elapsed:4.0f} s of {duration:.0f}   {rate:6,.0f} requests/s"
        f"   {recorder.outcomes[Outcome.FAIL]:,} failed"
        f"   {recorder.outcomes[Outcome.UNKNOWN]:,} unknown"
        f"   {len(recorder.workers)} workers"
        f"   {recorder.checker.report.violations:,} violations"
    )
