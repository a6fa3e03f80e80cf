"""Open arrivals on sessions that live through the whole run."""

import time
from collections.abc import Callable

import gevent
from gevent.pool import Pool

from loadtest.load.arrivals import due_times
from loadtest.load.browser import Browser, LoginFailed, Visit
from loadtest.load.recorder import Recorder
from loadtest.scenarios import Visitor
from loadtest.scenarios.farewell import say_farewell

SESSIONS = 16
SLOTS = 64  # arrivals in flight at most; one that finds them all taken is dropped and counted


def serve_arrivals(
    visitors: list[Visitor], recorder: Recorder, rate: float, seed: int, over: Callable[[], bool]
) -> None:
    """Log the visitors in, send every arrival when it is due until `over()`, log them out."""
    seats = [(visitor, _log_in(visitor)) for visitor in visitors]
    taken = [(visitor, session) for visitor, session in seats if session is not None]
    slots = Pool(SLOTS)
    start = time.monotonic_ns()
    if taken:
        dice = taken[0][0].dice
        for due in due_times(rate, seed):
            if not _wait_until(start + int(due * 1e9), over):
                break
            visitor, session = dice.choice(taken)
            request = dice.choice(("visit", "read", "read", "page"))
            _arrive(recorder, slots, visitor.browser, session, request, start + int(due * 1e9))
    slots.join(raise_error=True)
    for visitor, session in taken:
        say_farewell(visitor, session)


def _log_in(visitor: Visitor) -> Visit | None:
    try:
        return visitor.browser.login(visitor.new_name(), visitor.password)
    except LoginFailed:
        return None  # recorded as a failed request


def _wait_until(moment: int, over: Callable[[], bool]) -> bool:
    """Sleep until a moment of the monotonic clock; False when the run is over before it."""
    while not over():
        left = (moment - time.monotonic_ns()) / 1e9
        if left <= 0:
            return True
        gevent.sleep(min(left, 0.2))
    return False


def _arrive(
    recorder: Recorder, slots: Pool, browser: Browser, session: Visit, request: str, due: int
) -> None:
    recorder.arrivals += 1
    if slots.full():
        recorder.dropped += 1
        return
    send = {"visit": browser.visit, "read": browser.read, "page": browser.page}[request]
    slots.spawn(send, session, due)
