"""Ending pages that take longer than PAGE_SECONDS: 504, and never a second run.

The worker does it and not nginx, to which a slow page and one that waits behind it look the same.
"""

from __future__ import annotations

import asyncio
import signal
import time

from app.handlers.base import BaseHandler, Worker
from app.watched import blocking_page

LOOK_SECONDS = 0.2
TURN_SECONDS = 2 * LOOK_SECONDS  # a look that comes later was held up by a page that blocked
TICK_SECONDS = 0.5  # while the event loop is blocked


async def end_late_pages(worker: Worker, page_seconds: float) -> None:
    """Look at the oldest pages now and then, until cancelled; costs nothing a request.

    Time in which a page blocks the event loop counts for that page alone.  Several may do so one after the
    other before the next look; each has its own time, and learns that it took too long when it answers.
    """
    # The page that blocks, if any does, and since when it was seen doing so.
    page: BaseHandler | None = None
    since = 0.0

    def note_blocking_page(*_: object) -> None:
        nonlocal page, since
        now = time.monotonic()
        seen = blocking_page(worker)
        if seen is not page:
            page, since = seen, now
        elif page is not None and now - since >= page_seconds:
            page.is_late = True

    signal.signal(signal.SIGALRM, note_blocking_page)
    before = time.monotonic()
    try:
        while True:
            signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
            await asyncio.sleep(LOOK_SECONDS)
            page = None
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
