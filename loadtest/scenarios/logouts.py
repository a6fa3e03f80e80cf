"""Logout with writes in flight: they may finish, but they must not bring the session back."""

import gevent
from gevent.pool import Pool

from loadtest.scenarios import Visitor

SLOW_MILLISECONDS = 60
HEAD_START_SECONDS = (0.0, 0.02)


def race_logout(visitor: Visitor) -> None:
    """Log out while slow writes and visits run, then look for a session that came back."""
    browser, random = visitor.browser, visitor.random
    session = visitor.log_in()
    browser.visit(session)
    if "slow" not in visitor.missing:
        browser.slow_write(session, 0)
    browser.read(session)
    pool = Pool()
    writes = [pool.spawn(browser.visit, session) for _ in range(2)]
    if "slow" not in visitor.missing:
        writes += [pool.spawn(browser.slow_write, session, SLOW_MILLISECONDS) for _ in range(2)]
    gevent.sleep(random.uniform(*HEAD_START_SECONDS))
    browser.logout(session)
    browser.probe(session)
    gevent.joinall(writes, raise_error=True)
    browser.probe(session)
    visitor.find_over(session)
