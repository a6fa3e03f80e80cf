"""Ending pages that take longer than PAGE_SECONDS: 504, and never a second run.

The worker does it and not nginx, to which a slow page and one that waits behind it look the same.
"""

from __future__ import annotations

import asyncio
import signal
import time

from app.handlers.base import Worker
from app.watched import blocking_page

LOOK_SECONDS = 0.2
TURN_SECONDS = 2 * LOOK_SECONDS  # a look that comes later was held up by a page that blocked


async def end_late_pages(worker: Worker, page_seconds: float) -> None:
    """Look at the oldest pages now and then, until cancelled; costs nothing a request.

    Time in which a page blocks the event loop counts for that page alone.
    """
    signal.signal(signal.SIGALRM, lambda *_: _note_blocking_page(worker))
    before = time.monotonic()
    try:
        while True:
            signal.setitimer(signal.ITIMER_REAL, page_seconds)
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            worker.clock += min(now - before, TURN_SECONDS)
            before = now
            _end(worker, worker.clock - page_seconds - LOOK_SECONDS)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _end(worker: Worker, before: float) -> None:
    """End the pages that began before that moment of the worker's clock."""
    late = []
    for page, began in worker.pages.items():
        if began > before:
            break  # the rest began later
        late.append(page)
    for page in late:
        page.end_late_page()


def _note_blocking_page(worker: Worker) -> None:
    """Runs inside the page that has blocked the event loop for PAGE_SECONDS: it learns so when it answers."""
    if page := blocking_page(worker):
        page.is_late = True
