"""Gives memory back to the machine after a crowd of event streams has gone.

A process keeps what its busiest moment took: Python returns a MiB of memory only when nothing is left
in it, and a few objects that outlive the crowd, scattered among thousands that do not, hold it all.
So what outlives it is dropped or moved, and then the free pages are given back.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from collections.abc import Callable, Iterable
from typing import Any

from tornado.ioloop import IOLoop

LOOK_SECONDS = 1.0
CROWD = 250  # streams that must have gone: fewer are not worth a pause
CALM = 0.05  # of the crowd: while more come or go from look to look, it is not over
ROUNDS = 3  # what is in use at one, such as a timer, is a spare at the next
TURNS_SECONDS = 0.01  # until the event loop has let go of handles: some turns of it
TABLE_BYTES = 16 * 1024  # smaller ones are no matter
CHUNKS = 16  # of one size, at most; it was 7 before glibc 2.42
LEAST_CHUNK, MOST_CHUNK, CHUNK_STEP = 24, 1040, 16
SPARES = 256  # of one kind, at most: uvloop keeps 250 handles, asyncio 255 iterators of futures


class Crowd:
    """Counts streams, and notices that most of a crowd has gone and that it is calm again."""

    def __init__(self) -> None:
        self._now = 0
        self._most = 0  # since memory was given back
        self._last = 0  # at the last look

    def is_now(self, streams: int) -> None:
        """So many are open now.  Call whenever there are more or fewer."""
        self._now = streams
        self._most = max(self._most, streams)

    def has_gone(self) -> bool:
        """Look.  True once for each crowd that has left."""
        calm = abs(self._now - self._last) <= self._most * CALM
        self._last = self._now
        gone = calm and self._most - self._now >= CROWD and self._now <= self._most / 2
        if gone:
            self._most = self._now
        return gone


async def keep_small(crowd: Crowd, forget: Iterable[Callable[[], None]]) -> None:
    """Give memory back after each crowd, until cancelled; `forget` empties what can be found again."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if crowd.has_gone():
            for _ in range(ROUNDS):
                await give_back(forget)
                await asyncio.sleep(LOOK_SECONDS)


async def give_back(forget: Iterable[Callable[[], None]]) -> None:
    """Drop what is not needed and return whole free pages; the worker pauses for some milliseconds."""
    for one in forget:
        one()
    sys._clear_type_cache()  # it holds names of attributes, of which each request makes a copy
    await _renew_spares()
    _renew_tables()
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc alone has it
        libc.malloc_trim(0)  # also joins what is free, so that new chunks come from elsewhere
        _renew_chunks(libc)
        libc.malloc_trim(0)


def settle() -> None:
    """Call when the start is over: what is there now stays, and no collection need look at it."""
    gc.collect()
    gc.freeze()


def _renew_tables() -> None:
    """Have the event loop keep tables of open connections for those there are: Python's only grow.

    They are Tornado's and uvloop's; the latter have no names that could be asked for.
    """
    loop: Any = IOLoop.current()  # BaseAsyncIOLoop; nothing of it may be held across a turn
    of_tornado = (loop.readers, loop.writers, loop.handlers)
    for table in (*of_tornado, *gc.get_referents(asyncio.get_running_loop())):
        if isinstance(table, dict | set) and sys.getsizeof(table) > TABLE_BYTES:
            kept = list(table.items() if isinstance(table, dict) else table)
            table.clear()
            table.update(kept)


async def _renew_spares() -> None:
    """Have the interpreter and uvloop keep spare objects that lie where the worker's other memory is.

    Some kinds of objects are kept for the next use when they are freed, SPARES of each at most, and
    those of the crowd lie scattered.  They are given out first, so here they are the first of twice as
    many, and are held until the fresh ones behind them have been freed and have taken their places.
    """
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    done.set_result(None)
    later = [loop.call_later(60, _nothing) for _ in range(2 * SPARES)]
    for handle in later:
        handle.cancel()
    del handle
    kinds: tuple[list[Any], ...] = (
        later,
        [loop.call_soon(_nothing) for _ in range(2 * SPARES)],
        [done.__await__() for _ in range(2 * SPARES)],
    )
    for spares in kinds:
        del spares[SPARES:]
    await asyncio.sleep(TURNS_SECONDS)
    for spares in kinds:
        spares.clear()


def _renew_chunks(libc: ctypes.CDLL) -> None:
    """The same with the chunks glibc keeps of each small size (tcache in its manual's "Tunables")."""
    libc.malloc.restype = ctypes.c_void_p
    for size in range(LEAST_CHUNK, MOST_CHUNK, CHUNK_STEP):
        chunks = [ctypes.c_void_p(libc.malloc(size)) for _ in range(2 * CHUNKS)]
        for chunk in reversed(chunks):
            libc.free(chunk)


def _nothing() -> None:
    pass
