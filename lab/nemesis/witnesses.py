"""Sessions that live from the first fault to the last: used at random moments, and read at rest after each fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import gevent
from gevent.pool import Pool

from lab.nemesis.rest import Rest
from loadtest.check.op import Op, Outcome
from loadtest.load.arrivals import due_times
from loadtest.load.browser import LoginFailed, Session
from loadtest.scenarios import Visitor

WITNESSES = 16
SLOTS = 400  # requests under way at most; an arrival that finds all taken is left out
FINISH_SECONDS = 2.0  # in which the other visitors end the sessions that they are in
TRIES = 5  # of a login, and of a last look


@dataclass(slots=True)
class Witness:
    """A visitor and the session, which nobody ends before the run does."""

    visitor: Visitor
    session: Session
    fields: list[str] = field(default_factory=lambda: ["note"])
    written: int = 0
    writing: bool = False

    def note(self, session: Session) -> None:
        """Write a field that nobody else writes, one write at a time, and read it.

        One that may have been written is left as it is: a later write could not be told from it.  The next is
        written after the next look.
        """
        browser, name = self.visitor.browser, self.fields[-1]
        if self.writing:
            browser.read(session)
            return
        self.writing = True
        self.written += 1
        self.writing = browser.put(session, name, str(self.written)).outcome is not Outcome.OK
        browser.get(session, name)

    def look(self) -> None:
        """With nothing under way: all that was written, in each way to ask for it, until it is answered."""
        browser = self.visitor.browser
        fields: list[Callable[[Session], Op]] = [
            partial(browser.get, key=name) for name in self.fields
        ]
        for ask in [browser.read, browser.page, *fields]:
            for _ in range(TRIES):
                if ask(self.session).outcome is not Outcome.FAIL:
                    break
                gevent.sleep(0.2)
        if self.writing:
            self.fields.append(f"note-{len(self.fields)}")
            self.writing = False


def serve_witnesses(
    visitors: list[Visitor], rate: float, seed: int, rest: Rest, over: Callable[[], bool]
) -> None:
    """Log them in, use them `rate` times a second until `over()`, and log them out."""
    witnesses = [witness for visitor in visitors if (witness := _log_in(visitor))]
    pool, random = Pool(SLOTS), visitors[0].random
    before = 0.0
    for due in due_times(rate, seed):
        gevent.sleep(due - before)
        before = due
        if over():
            break
        if rest.asked():
            _look_at_all(witnesses, pool)
            rest.looked()
            while rest.asked() and not over():
                gevent.sleep(0.05)
            continue
        if not pool.full():
            one = random.choice(witnesses)
            browser = one.visitor.browser
            ways = (browser.visit, browser.visit, browser.read, browser.page, one.note)
            pool.spawn(random.choice(ways), one.session)
    pool.join(raise_error=True)
    for one in witnesses:
        one.visitor.finish(one.session)


def _look_at_all(witnesses: list[Witness], pool: Pool) -> None:
    gevent.sleep(FINISH_SECONDS)
    pool.join(raise_error=True)
    for one in witnesses:
        pool.spawn(one.look)
    pool.join(raise_error=True)


def _log_in(visitor: Visitor) -> Witness | None:
    for turn in count(1):
        try:
            return Witness(visitor, visitor.log_in())
        except LoginFailed:
            if turn == TRIES:
                return None
            gevent.sleep(0.5)
    return None
