"""The end of a session: its exact count, the logout, and proof that it is over."""

from loadtest.load.browser import Visit
from loadtest.scenarios import Visitor

PROBES = 2


def say_farewell(visitor: Visitor, session: Visit) -> None:
    """Call it with nothing in flight."""
    browser = visitor.browser
    browser.read(session)
    browser.logout(session)
    for _ in range(PROBES):
        browser.probe(session)
    browser.end(session)
