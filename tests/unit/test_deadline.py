"""Pages that block the event loop: each is late by its own time alone."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

from app.deadline import end_late_pages
from app.handlers.base import Worker


class Page(SimpleNamespace):
    """As much of a handler as is looked at."""

    __hash__ = object.__hash__


async def late(page_seconds: float, *blocking: float) -> list[bool]:
    """Pages that block one after the other, before the event loop gets round to anything else."""
    worker = Worker(name="worker-1", boot="1")
    watch = asyncio.create_task(end_late_pages(worker, page_seconds))
    await asyncio.sleep(0)

    async def block(seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - it is what is tested

    pages: list[Any] = []
    for seconds in blocking:
        page = Page(task=asyncio.create_task(block(seconds)), is_late=False)
        pages.append(page)
        worker.pages[page] = worker.clock  # type: ignore[index]
    await asyncio.gather(*(page.task for page in pages))
    watch.cancel()
    return [page.is_late for page in pages]


async def test_one_after_the_other() -> None:
    """The second page that blocks too long is late as the first one is; what is quick behind them is not."""
    assert await late(1, 2.5, 2.5, 0.1) == [True, True, False]


async def test_quick_behind_slow() -> None:
    """A page that begins just before the first one's time would be over is not blamed for it."""
    assert await late(1, 0.8, 0.8, 0.8) == [False, False, False]
