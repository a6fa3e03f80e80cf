"""What visitors do. Each scenario is one function: the whole life of one session, or of several of one user."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from loadtest.check.op import Lifetimes
from loadtest.load.browser import Browser, Session

PROBES = 2
LOOKED_AT_LATER = 0.5  # of ended sessions


@dataclass(slots=True)
class Visitor:
    """Who plays a scenario, and what it may need."""

    name: str
    password: str
    random: random.Random  # seeded: the same choices in every run with the same seed
    new_browser: Callable[[], Browser]  # another device, with a cookie jar of its own
    look_later: Callable[[Session], None]  # ask this ended session once more, in a second or later
    missing: frozenset[str]  # optional endpoints that the stack does not have
    most_sessions: int  # that a user may have; 0: not known
    lifetimes: Lifetimes
    browser: Browser = field(init=False)
    lives: int = 0

    def __post_init__(self) -> None:
        self.browser = self.new_browser()

    def new_name(self) -> str:
        """A user name nobody had before, so that a mixed-up identity shows; one in five is not ASCII."""
        self.lives += 1
        name = f"{self.name}-{self.lives}"
        return f"{name} Zoë 漢字" if self.lives % 5 == 0 else name

    def log_in(self) -> Session:
        """A session of a new user in this visitor's browser."""
        return self.browser.login(self.new_name(), self.password)

    def finish(self, session: Session, browser: Browser | None = None) -> None:
        """The end of a session: its exact count, the logout, and proof that it is over.

        Call it with nothing in flight.
        """
        browser = browser or self.browser
        browser.read(session)
        browser.logout(session)
        self.find_over(session, browser)

    def finish_somehow(self, session: Session) -> None:
        """The same, by one of all the ways in which a session can end itself."""
        ways = ["/logout"]
        if "devices" not in self.missing:
            ref = self.browser.devices(session)
            ways += ["/devices/end-all", *([f"/devices/{ref}/end"] if ref else [])]
        way = self.random.choice(ways)
        if way == "/logout":
            self.finish(session)
            return
        self.browser.read(session)
        self.browser.end(session, way, [session])
        self.find_over(session)

    def find_over(self, session: Session, browser: Browser | None = None) -> None:
        """Proof that an ended session is over, now and sometimes later, under each of its cookies."""
        for _ in range(PROBES):
            (browser or self.browser).probe(session, self.random.choice(session.cookies))
        (browser or self.browser).close(session)
        if self.random.random() < LOOKED_AT_LATER:
            self.look_later(session)


Scenario = Callable[[Visitor], None]
