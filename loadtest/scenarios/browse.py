"""Log in and browse: open the page, visit, read, one request after the other, log out."""

import gevent

from loadtest.scenarios import Visitor
from loadtest.scenarios.farewell import say_farewell

ROUNDS = 6
THINK_SECONDS = (0.01, 0.12)


def browse(visitor: Visitor) -> None:
    """One session of a person who clicks."""
    browser, dice = visitor.browser, visitor.dice
    session = browser.login(visitor.new_name(), visitor.password)
    browser.page(session)
    for _ in range(ROUNDS):
        gevent.sleep(dice.uniform(*THINK_SECONDS))
        dice.choice((browser.visit, browser.visit, browser.read, browser.page))(session)
        browser.read(session)
    say_farewell(visitor, session)
