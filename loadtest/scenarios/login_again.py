"""Log in over a session one still has: a new id, an empty session, and the old one dead."""

from loadtest.scenarios import Visitor
from loadtest.scenarios.farewell import say_farewell

PROBES = 2


def log_in_again(visitor: Visitor) -> None:
    """Log in twice in one browser, as the same user or as another one."""
    browser, dice = visitor.browser, visitor.dice
    user = visitor.new_name()
    first = browser.login(user, visitor.password)
    browser.visit(first)
    browser.read(first)
    if dice.random() < 0.5:
        user = visitor.new_name()
    second = browser.login(user, visitor.password, replacing=first)
    browser.read(second)
    for _ in range(PROBES):
        browser.probe(first)
        browser.visit(second)
        browser.read(second)
    browser.end(first)
    say_farewell(visitor, second)
