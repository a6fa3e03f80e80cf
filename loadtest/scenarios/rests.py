"""Sessions that mostly rest: nothing may vanish meanwhile, nothing come back, and the timeouts must hold."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

from gevent.pool import Pool

from loadtest.check.op import Outcome
from loadtest.load.browser import Browser, LoginFailed, Session
from loadtest.scenarios import Visitor
from loadtest.scenarios.arrivals import wait_until
from loadtest.scenarios.fields import KEYS, VALUES

RESTS_SECONDS = (1.2, 2.5, 4.0, 6.0, 9.0, 13.0)
LOOKS = 2
LATER_SECONDS = (1.0, 4.0)
LAST_LOOKS = 300  # at ended sessions, when the load is over
AT_ONCE = 6
SPACING = 0.55  # of the idle timeout: two uses further apart than that must keep a session alive
LONGEST_TRIED_SECONDS = 60.0
LONGEST_LIFE_SECONDS = 540.0  # of a session that lists devices: ten minutes after the login /devices asks for the password
WAYS = ("read", "page", "visit", "put", "devices")
NEEDED = {"put": "data", "devices": "devices"}
Over = Callable[[], bool]


class LateLooks:
    """Asks ended sessions again: each after a second or more, and many when the load is over."""

    def __init__(self, browser: Browser, visitor: Visitor) -> None:
        self._browser, self._random = browser, visitor.random
        self._due: list[tuple[int, Session]] = []
        self._all: list[Session] = []
        self._seen = 0

    def look_later(self, session: Session) -> None:
        """Remember an ended session; of very many, some."""
        later = time.monotonic_ns() + int(self._random.uniform(*LATER_SECONDS) * 1e9)
        self._due.append((later, session))
        self._seen += 1
        if len(self._all) < LAST_LOOKS:
            self._all.append(session)
        elif (place := self._random.randrange(self._seen)) < LAST_LOOKS:
            self._all[place] = session

    def run(self, over: Over) -> None:
        """Look at each in its time; when the load is over, at all that are remembered."""
        pool = Pool(AT_ONCE)
        while wait_until(time.monotonic_ns() + 10**8, over):
            now = time.monotonic_ns()
            due = [session for moment, session in self._due if moment <= now]
            self._due = [entry for entry in self._due if entry[0] > now]
            for session in due:
                pool.spawn(self._look, session)
        for session in self._all:
            pool.spawn(self._look, session)
        pool.join(raise_error=True)

    def _look(self, session: Session) -> None:
        self._browser.probe(session, self._random.choice(session.cookies))


def rest(visitor: Visitor, number: int, over: Over) -> None:
    """Write, rest, and find everything as it was; again until the run is over."""
    for turn in count(number):
        if over():
            return
        try:
            _rest_once(visitor, RESTS_SECONDS[turn % len(RESTS_SECONDS)], over)
        except LoginFailed:
            pass  # recorded as a failed request


def _rest_once(visitor: Visitor, seconds: float, over: Over) -> None:
    browser, lifetimes = visitor.browser, visitor.lifetimes
    seconds = min(seconds, lifetimes.sure_seconds * 0.8, lifetimes.absolute_seconds * 0.4)
    session = visitor.log_in()
    browser.visit(session)
    fields = list(_write_fields(visitor, session)) if "data" not in visitor.missing else []
    for _ in range(LOOKS):
        rested = wait_until(time.monotonic_ns() + int(seconds * 1e9), over)
        _look_at_all(visitor, session, fields)
        if not rested:
            break
    visitor.finish(session)


def _write_fields(visitor: Visitor, session: Session) -> Iterator[str]:
    """One field for each kind of value, in any order; the first of them is deleted again."""
    browser, random = visitor.browser, visitor.random
    keys = random.sample(KEYS, len(VALUES))
    for key, texts in zip(keys, random.sample(VALUES, len(VALUES)), strict=True):
        if browser.put(session, key, random.choice(texts)).outcome is Outcome.OK:
            yield key
    browser.delete(session, keys[0])


def _look_at_all(visitor: Visitor, session: Session, fields: list[str]) -> None:
    """In any order: what is asked for first may be what has vanished, or has to move the idle timeout."""
    browser, random = visitor.browser, visitor.random
    first, second = random.sample((browser.page, browser.read), 2)
    first(session)
    browser.repeat(session)
    for key in random.sample(fields, len(fields)):
        browser.get(session, key)
    browser.visit(session)
    second(session)


def use_in_one_way(visitor: Visitor, way: str, over: Over) -> None:
    """Keep a session alive by one kind of request, seldom enough that each of them is needed."""
    browser, lifetimes = visitor.browser, visitor.lifetimes
    notes = map(str, count())
    ways: dict[str, Callable[[Session], object]] = {
        "read": browser.read,
        "page": browser.page,
        "visit": browser.visit,
        "put": lambda session: browser.put(session, "note", next(notes)),
        "devices": browser.devices,
    }
    while not over():
        session = visitor.log_in()
        life = min(lifetimes.absolute_seconds - 2, LONGEST_LIFE_SECONDS)
        last = session.begun + int(life * 1e9)
        pause = int(SPACING * lifetimes.idle_seconds * 1e9)
        while time.monotonic_ns() + pause < last:
            if not wait_until(time.monotonic_ns() + pause, over):
                break
            ways[way](session)
        visitor.finish(session)


def oversleep(visitor: Visitor, over: Over) -> None:
    """Rest longer than the idle timeout: the session is over."""
    while not over():
        session = visitor.log_in()
        visitor.browser.visit(session)
        _find_expired(visitor, session, visitor.lifetimes.idle_seconds, over)


def outlive(visitor: Visitor, over: Over) -> None:
    """Use a session all the time: past the absolute timeout it is over all the same."""
    browser, lifetimes = visitor.browser, visitor.lifetimes
    pause = int(min(1.0, lifetimes.idle_seconds / 3) * 1e9)
    while not over():
        session = visitor.log_in()
        last = session.begun + int((lifetimes.absolute_seconds - 1) * 1e9)
        while time.monotonic_ns() < last and wait_until(time.monotonic_ns() + pause, over):
            browser.read(session)
        left = lifetimes.absolute_seconds - (time.monotonic_ns() - session.begun) / 1e9
        _find_expired(visitor, session, left, over)


def _find_expired(visitor: Visitor, session: Session, seconds: float, over: Over) -> None:
    moment = time.monotonic_ns() + int((seconds + 2 * visitor.lifetimes.slack_seconds) * 1e9)
    if wait_until(moment, over):
        session.over = True
        visitor.find_over(session)
    else:
        visitor.finish(session)


def long_lives(new_visitor: Callable[[], Visitor], over: Over) -> Iterator[Callable[[], None]]:
    """All of these that this stack's timeouts allow, each to be run beside the others."""
    visitor = new_visitor()
    lifetimes = visitor.lifetimes
    for number in range(2 * len(RESTS_SECONDS)):
        yield partial(rest, new_visitor(), number, over)
    if lifetimes.idle_seconds <= LONGEST_TRIED_SECONDS:
        ways = [way for way in WAYS if NEEDED.get(way) not in visitor.missing]
        yield from (partial(use_in_one_way, new_visitor(), way, over) for way in ways)
        yield from (partial(oversleep, new_visitor(), over) for _ in range(2))
    if lifetimes.absolute_seconds <= LONGEST_TRIED_SECONDS:
        yield from (partial(outlive, new_visitor(), over) for _ in range(2))
