"""Logging in over a session one still has, several times at once, and once too often; logging out amid writes."""

import time

import gevent
from gevent.pool import Pool

from loadtest.load.browser import CONNECTIONS, Browser, Session
from loadtest.scenarios import Visitor

NOTE = "note"
LOGINS = 3  # a double click on the button, and a second tab; below the usual cap of sessions a user
SLOW_MILLISECONDS = 60
HEAD_START_SECONDS = (0.0, 0.02)


def log_in_again(visitor: Visitor) -> None:
    """Log in twice in one browser, as the same user or another one: a new id, and the old session dead."""
    browser, random = visitor.browser, visitor.random
    first = visitor.log_in()
    browser.visit(first)
    browser.read(first)
    if fields := "data" not in visitor.missing:
        browser.put(first, NOTE, '"of the session before"')
    user = visitor.new_name() if random.random() < 0.5 else first.user
    second = browser.login(user, visitor.password, replacing=first)
    browser.read(second)
    if fields:
        browser.get(second, NOTE)
    for _ in range(2):
        browser.probe(first)
        browser.visit(second)
        browser.read(second)
    visitor.find_over(first)
    visitor.finish(second)


def race_logins(visitor: Visitor) -> None:
    """Log in several times at once over one session, with visits of it under way: each login counts."""
    browser = visitor.browser
    first = visitor.log_in()
    browser.visit(first)
    first.pinned = True  # from here on the jar holds whichever cookie came last
    pool = Pool(CONNECTIONS)
    visits = [pool.spawn(browser.visit, first) for _ in range(2)]
    logins = [pool.spawn(browser.login, first.user, visitor.password, first) for _ in range(LOGINS)]
    gevent.joinall(visits, raise_error=True)
    gevent.joinall(logins)
    visitor.find_over(first)
    for login in logins:
        session = login.get()
        session.pinned = True
        browser.read(session)
        browser.visit(session)
        visitor.finish(session)


def log_in_too_often(visitor: Visitor) -> None:
    """One login more than a user may have sessions: it works, and the oldest session is over.

    Where a timeout may have made room before, as on a slow machine, the oldest one is not looked at again.
    """
    user, held = visitor.new_name(), list[tuple[Browser, Session]]()
    for _ in range(visitor.most_sessions):
        browser = visitor.new_browser()
        held.append((browser, browser.login(user, visitor.password)))
    for browser, session in held:
        browser.visit(session)  # none is near its timeout when the next one logs in
    browser, oldest = held.pop(0)
    newcomer = visitor.new_browser()
    latest = newcomer.login(user, visitor.password, ends=[oldest])
    now = time.monotonic_ns()
    room = any(session.may_have_expired(now, visitor.lifetimes) for _, session in held)
    held.append((newcomer, latest))
    if not room:
        visitor.find_over(oldest, browser)
    for browser, session in held:
        browser.visit(session)
        browser.read(session)
    if room or "devices" in visitor.missing:
        for browser, session in held:
            visitor.finish(session, browser)
        return
    newcomer.devices(held[-1][1])
    newcomer.end(held[-1][1], "/devices/end-all", [session for _, session in held])
    for browser, session in held:
        visitor.find_over(session, browser)


def race_logout(visitor: Visitor) -> None:
    """Log out while slow writes and visits run: they may finish, but they must not bring the session back."""
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
