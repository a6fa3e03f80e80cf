"""A sign of life while something computes: a report or a verdict of a long run takes longer than its last figures."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SILENT_SECONDS = 5.0


@contextmanager
def never_silent(what: str) -> Iterator[None]:
    """While the block runs, every five seconds a line says that `what` goes on, and for how long already."""
    over, began = threading.Event(), time.monotonic()

    def tell() -> None:
        while not over.wait(SILENT_SECONDS):
            print(f"  {what}: {time.monotonic() - began:.0f} s so far", flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
