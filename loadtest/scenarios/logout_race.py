"""Logout with writes in flight: they may finish, but they must not bring the session back."""

import gevent
from gevent.pool import Pool

from loadtest.scenarios import Visitor

SLOW_MILLISECONDS = 60
HEAD_START_SECONDS = (0.0, 0.02)
PROBES = 3


def race_logout(visitor: Visitor) -> None:
    """Log out while slow writes and visits run, then look for a session that came back."""
    browser, dice = visitor.browser, visitor.dice
    session = browser.login(visitor.new_name(), visitor.password)
    browser.visit(session)
    browser.read(session)
    pool = Pool()
    writes = [pool.spawn(browser.visit, session) for _ in range(2)]
    if visitor.slow_writes:
        writes += [pool.spawn(browser.slow_write, session, SLOW_MILLISECONDS) for _ in range(2)]
    gevent.sleep(dice.uniform(*HEAD_START_SECONDS))
    browser.logout(session)
    browser.probe(session)
    gevent.joinall(writes, raise_error=True)
    for _ in range(PROBES):
        browser.probe(session)
    browser.end(session)
