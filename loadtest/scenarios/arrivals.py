"""Open arrivals: requests that are due at random moments, on sessions that live long."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import gevent
from gevent.pool import Pool

from loadtest.load.arrivals import due_times
from loadtest.load.browser import LoginFailed, Session
from loadtest.load.recorder import Recorder
from loadtest.scenarios import Visitor

SESSIONS = 16
SLOTS = 256  # arrivals in flight at most; one without a free slot or session is dropped and counted
LIFE = (0.4, 0.7)  # of the absolute timeout: between these a session is replaced, not all at a time


@dataclass(slots=True)
class Seat:
    """A visitor with the session that arrivals use."""

    visitor: Visitor
    session: Session
    life: float  # share of the absolute timeout
    in_flight: int = 0

    def is_old(self) -> bool:
        """Whether a timeout would end the session soon."""
        age = (time.monotonic_ns() - self.session.begun) / 1e9
        return age > self.life * self.visitor.lifetimes.absolute_seconds


def serve_arrivals(
    visitors: list[Visitor], recorder: Recorder, rate: float, seed: int, over: Callable[[], bool]
) -> None:
    """Log the visitors in, send every arrival when it is due until `over()`, log them out."""
    seats = [seat for visitor in visitors if (seat := _sit_down(visitor))]
    slots = Pool(SLOTS)
    start = time.monotonic_ns()
    random = visitors[0].random
    for due in due_times(rate, seed) if seats else ():
        if not wait_until(start + int(due * 1e9), over):
            break
        recorder.arrivals += 1
        if slots.full() or not seats:
            recorder.dropped += 1
            continue
        seat = random.choice(seats)
        browser = seat.visitor.browser
        send = random.choice((browser.visit, browser.read, browser.read, browser.page))
        slots.spawn(_arrive, seat, send, start + int(due * 1e9))
        if seat.is_old():
            seats.remove(seat)
            slots.spawn(_replace, seat, seats)
    slots.join(raise_error=True)
    for seat in seats:
        seat.visitor.finish(seat.session)


def _sit_down(visitor: Visitor) -> Seat | None:
    try:
        return Seat(visitor, visitor.log_in(), visitor.random.uniform(*LIFE))
    except LoginFailed:
        return None  # recorded as a failed request


def _arrive(seat: Seat, send: Callable[[Session, int], object], due: int) -> None:
    seat.in_flight += 1
    try:
        send(seat.session, due)
    finally:
        seat.in_flight -= 1


def _replace(seat: Seat, seats: list[Seat]) -> None:
    """Log this session out before it expires, and begin another one."""
    while seat.in_flight:
        gevent.sleep(0.05)
    seat.visitor.finish(seat.session)
    if successor := _sit_down(seat.visitor):
        seats.append(successor)


def wait_until(moment: int, over: Callable[[], bool]) -> bool:
    """Sleep until a moment of the monotonic clock; False when the run is over before it."""
    while not over():
        left = (moment - time.monotonic_ns()) / 1e9
        if left <= 0:
            return True
        gevent.sleep(min(left, 0.2))
    return False
