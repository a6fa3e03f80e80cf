"""A page of six parallel requests on one session, as a browser loads it."""

import gevent
from gevent.pool import Pool

from loadtest.load.browser import CONNECTIONS
from loadtest.scenarios import Visitor
from loadtest.scenarios.farewell import say_farewell

PAGES = 4
THINK_SECONDS = (0.05, 0.25)


def load_pages(visitor: Visitor) -> None:
    """Several pages; the requests of one page are all in flight at once."""
    browser, dice = visitor.browser, visitor.dice
    session = browser.login(visitor.new_name(), visitor.password)
    for _ in range(PAGES):
        gevent.sleep(dice.uniform(*THINK_SECONDS))
        requests = [browser.visit] * 3 + [browser.read] * 2 + [browser.page]
        dice.shuffle(requests)
        pool = Pool(CONNECTIONS)
        greenlets = [pool.spawn(request, session) for request in requests]
        gevent.joinall(greenlets, raise_error=True)
    say_farewell(visitor, session)
