"""Several logins at once over one session: each gives its own new session, and the old one dies."""

import gevent
from gevent.pool import Pool

from loadtest.load.browser import CONNECTIONS, Visit
from loadtest.scenarios import Visitor

LOGINS = 3  # a double click on the button, and a second tab; below the usual cap of sessions a user


def race_logins(visitor: Visitor) -> None:
    """Log in several times at once, with visits of the old session under way."""
    browser = visitor.browser
    user = visitor.new_name()
    first = browser.login(user, visitor.password)
    browser.visit(first)
    first.pinned = True  # from here on the jar holds whichever cookie came last
    pool = Pool(CONNECTIONS)
    visits = [pool.spawn(browser.visit, first) for _ in range(2)]
    logins = [pool.spawn(browser.login, user, visitor.password, first) for _ in range(LOGINS)]
    gevent.joinall(visits, raise_error=True)
    gevent.joinall(logins)
    browser.probe(first)
    browser.end(first)
    for login in logins:
        _use_and_leave(visitor, login.get())


def _use_and_leave(visitor: Visitor, session: Visit) -> None:
    """A session of its own: it has no visits but those made here."""
    browser, session.pinned = visitor.browser, True
    browser.read(session)
    browser.visit(session)
    browser.read(session)
    browser.logout(session)
    browser.probe(session)
    browser.end(session)
