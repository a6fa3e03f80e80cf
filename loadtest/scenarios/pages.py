"""A page of six parallel requests on one session, as a browser loads it."""

from collections.abc import Callable

import gevent
from gevent.pool import Pool

from loadtest.check.op import Op
from loadtest.load.browser import CONNECTIONS, Session
from loadtest.scenarios import Visitor

PAGES = 4
THINK_SECONDS = (0.05, 0.25)


def load_pages(visitor: Visitor) -> None:
    """Several pages; the requests of one page are all in flight at once, a double click among them."""
    browser, random = visitor.browser, visitor.random
    session = visitor.log_in()
    for _ in range(PAGES):
        gevent.sleep(random.uniform(*THINK_SECONDS))
        kinds: tuple[Callable[[Session], Op], ...] = (browser.visit, browser.read, browser.page)
        requests = random.sample(kinds, 6, counts=(3, 2, 1))
        if requests[-1] == browser.visit:
            requests.append(browser.repeat)
        pool = Pool(CONNECTIONS)
        greenlets = [pool.spawn(request, session) for request in requests]
        gevent.joinall(greenlets, raise_error=True)
    visitor.finish(session)
