"""One user on several devices: a session that is ended from another device is over at once."""

import gevent
from gevent.pool import Pool

from loadtest.load.browser import Browser, Visit
from loadtest.scenarios import Visitor
from loadtest.scenarios.farewell import say_farewell

OTHERS = 3  # with the first one still below the usual cap of sessions a user
PROBES = 2
SLOW_MILLISECONDS = 40


def end_devices(visitor: Visitor) -> None:
    """Log in on several devices at once; end one by name, then all others; the first lives on."""
    browser, user = visitor.browser, visitor.new_name()
    own = browser.login(user, visitor.password)
    browsers = [visitor.new_browser() for _ in range(OTHERS)]
    pool = Pool(OTHERS)
    logins = [pool.spawn(other.login, user, visitor.password) for other in browsers]
    gevent.joinall(logins)
    others = [(other, login.get()) for other, login in zip(browsers, logins, strict=True)]
    for other, session in others:
        other.visit(session)
        other.read(session)
    _end_by_name(visitor, own, *others[0])
    for other, session in others[1:]:
        other.read(session)  # it must not have ended with the first
    browser.end_others(own, [session for _, session in others[1:]])
    for other, session in others[1:]:
        _probe(other, session)
    browser.visit(own)
    say_farewell(visitor, own)


def _end_by_name(visitor: Visitor, own: Visit, other: Browser, session: Visit) -> None:
    """End it while it writes: what is under way may finish, and must not bring it back."""
    device = other.own_device(session)
    if device is None:
        return  # recorded as a failed request; end-others takes it with the rest
    pool = Pool()
    writes = [pool.spawn(other.visit, session)]
    if visitor.slow_writes:
        writes.append(pool.spawn(other.slow_write, session, SLOW_MILLISECONDS))
    gevent.sleep(visitor.dice.uniform(0.0, 0.01))
    visitor.browser.end_device(own, device, session)
    other.probe(session)
    gevent.joinall(writes, raise_error=True)
    _probe(other, session)


def _probe(other: Browser, session: Visit) -> None:
    for _ in range(PROBES):
        other.probe(session)
    other.end(session)
