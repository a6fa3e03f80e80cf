"""Log in and browse: open the page, visit, read, one request after the other, log out; and come back."""

import gevent

from loadtest.scenarios import Visitor

ROUNDS = 6
THINK_SECONDS = (0.01, 0.12)
REPEATED = 0.2  # of visits
DIARY = "diary"


def browse(visitor: Visitor) -> None:
    """One session of a person who clicks."""
    browser, random = visitor.browser, visitor.random
    session = visitor.log_in()
    browser.page(session)
    for _ in range(ROUNDS):
        gevent.sleep(random.uniform(*THINK_SECONDS))
        random.choice((browser.visit, browser.visit, browser.read))(session)
        if session.visits and random.random() < REPEATED:
            browser.repeat(session, before=random.randrange(session.visits))
        random.choice((browser.read, browser.page))(session)
    visitor.finish(session)


def come_back(visitor: Visitor) -> None:
    """The same user logs in again: his new session is empty, and the old one stays over."""
    browser = visitor.browser
    session = visitor.log_in()
    browser.visit(session)
    if "data" not in visitor.missing:
        browser.put(session, DIARY, '"of the session before"')
        browser.get(session, DIARY)
    visitor.finish_somehow(session)
    again = browser.login(session.user, visitor.password)
    browser.probe(session)
    browser.read(again)
    if "data" not in visitor.missing:
        browser.get(again, DIARY)
    browser.visit(again)
    browser.probe(session)
    visitor.finish(again)
