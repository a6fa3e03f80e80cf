"""A Redis that stutters: stopped for longer than the workers wait, then running for a moment."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deploy.native.options import read_options
from deploy.native.programs import supervisord_of
from deploy.native.scratch import Scratch

STOPPED_SECONDS = 0.75  # REDIS_TIMEOUT_SECONDS is 0.5: what is sent in the first third is given up
# Whoever is answered in one of these moments has the next call on its way when it ends, if it is short.
RUNNING_SECONDS = (0.002, 0.003, 0.004, 0.006, 0.008, 0.011, 0.016, 0.023)
FREEZING_SECONDS = 7  # all of it


@contextmanager
def stuttering_redis(stack: Scratch, begun: Callable[[], bool]) -> Iterator[None]:
    """Inside the block, once `begun()`, the stack's Redis stops a few times; after it, Redis runs.

    SIGSTOP, because what arrives meanwhile is kept by the kernel and carried out later; a Redis that
    is only asked to pause forgets the calls of clients that have left.
    """
    pid, over = redis_pid(stack), threading.Event()
    thread = threading.Thread(target=_stutter, args=(pid, begun, over))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def redis_pid(stack: Scratch) -> int:
    """The process, by the account of the stack's supervisord."""
    return supervisord_of(read_options(stack.settings)).pids()["redis"]


def _stutter(pid: int, begun: Callable[[], bool], over: threading.Event) -> None:
    while not begun() and not over.wait(0.05):
        pass
    for running in RUNNING_SECONDS:
        if over.is_set():
            return
        os.kill(pid, signal.SIGSTOP)
        try:
            over.wait(STOPPED_SECONDS)
        finally:
            os.kill(pid, signal.SIGCONT)
        time.sleep(running)
