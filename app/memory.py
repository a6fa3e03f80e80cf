"""Gives free memory back to the system after most of a crowd of event streams has gone."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from collections.abc import Callable

LOOK_SECONDS = 1.0
CROWD = 250  # streams that must have gone: fewer are not worth a pause of some milliseconds


async def give_back(most_open: Callable[[], int], open_now: Callable[[], int]) -> None:
    """Do so until cancelled.  What exists now is never looked at by a collection again: it stays.

    `most_open`: the most streams at once since it was last called; a crowd may come and go between two looks.

    malloc_trim is glibc's; elsewhere a process keeps what its busiest moment took.
    """
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)
    most = 0.0
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        now = open_now()
        most = max(most, most_open())
        if most - now >= CROWD and now <= most / 2:
            sys._clear_type_cache()  # it keeps names made during the crowd: 6 MiB stayed on their pages
            gc.collect()
            trim(0)
            most /= 2  # so it is done again: what is in use now, such as a timer, is free a second later
