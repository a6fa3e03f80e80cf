"""Log in and browse: one request after the other, or a page of six at once as a browser loads it; and come back."""

from collections.abc import Callable

import gevent
from gevent.pool import Pool

from loadtest.check.op import Op
from loadtest.load.browser import CONNECTIONS, Session
from loadtest.scenarios import Visitor

ROUNDS = 6
THINK_SECONDS = (0.01, 0.12)
REPEATED = 0.2  # of visits
PAGES = 4
PAGE_THINK_SECONDS = (0.05, 0.25)
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


def load_pages(visitor: Visitor) -> None:
    """Several pages; the requests of one page are all in flight at once, a double click among them."""
    browser, random = visitor.browser, visitor.random
    session = visitor.log_in()
    for _ in range(PAGES):
        gevent.sleep(random.uniform(*PAGE_THINK_SECONDS))
        kinds: tuple[Callable[[Session], Op], ...] = (browser.visit, browser.read, browser.page)
        requests = random.sample(kinds, 6, counts=(3, 2, 1))
        if requests[-1] == browser.visit:
            requests.append(browser.repeat)
        pool = Pool(CONNECTIONS)
        greenlets = [pool.spawn(request, session) for request in requests]
        gevent.joinall(greenlets, raise_error=True)
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
