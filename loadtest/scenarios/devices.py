"""One user on several devices: who ends one, ends that one and no other, and every list says so."""

import gevent
from gevent.pool import Pool

from loadtest.load.browser import Browser, Session
from loadtest.scenarios import Visitor

OTHERS = 3  # with the first one still below the usual cap of sessions a user
SLOW_MILLISECONDS = 40
Device = tuple[Browser, Session]


def end_devices(visitor: Visitor) -> None:
    """Log in on several devices at once, and end them in each way there is; at last the first one ends all."""
    browser, random = visitor.browser, visitor.random
    own = visitor.log_in()
    browsers = [visitor.new_browser() for _ in range(OTHERS)]
    pool = Pool(OTHERS)
    logins = [pool.spawn(other.login, own.user, visitor.password) for other in browsers]
    gevent.joinall(logins)
    others = [(other, login.get()) for other, login in zip(browsers, logins, strict=True)]
    for other, session in others:
        other.visit(session)
        other.devices(session)
    browser.devices(own)
    browser.devices_page(own)
    if random.random() < 0.5:
        _end_a_stranger(visitor, own)
    for end in random.sample((_end_by_name, _end_itself, _log_in_anew), 2):
        end(visitor, own, others)
        _all_live(visitor, own, others)
    path = random.choice(("/devices/end-others", "/devices/end-others", "/devices/end-all"))
    ended = [session for _, session in others] + ([own] if path.endswith("all") else [])
    browser.end(own, path, ended)
    for other, session in others:
        visitor.find_over(session, other)
    if own.over:
        visitor.find_over(own)
    else:
        browser.devices(own)
        browser.devices_page(own)
        browser.visit(own)
        visitor.finish(own)


def _all_live(visitor: Visitor, own: Session, others: list[Device]) -> None:
    """Nobody else's session has ended, and the list says so, as JSON and as a page."""
    for other, session in others:
        other.read(session)
    visitor.browser.devices(own)
    visitor.browser.devices_page(own)


def _end_by_name(visitor: Visitor, own: Session, others: list[Device]) -> None:
    """End one while it writes: what is under way may finish, and must not bring it back."""
    other, session = others[0]
    ref = other.devices(session)
    if ref is None:
        return  # what is wrong with the list has been recorded; end-others takes it with the rest
    others.pop(0)
    pool = Pool()
    writes = [pool.spawn(other.visit, session)]
    if "slow" not in visitor.missing:
        writes.append(pool.spawn(other.slow_write, session, SLOW_MILLISECONDS))
    gevent.sleep(visitor.random.uniform(0.0, 0.01))
    visitor.browser.end(own, f"/devices/{ref}/end", [session])
    other.probe(session)
    gevent.joinall(writes, raise_error=True)
    visitor.find_over(session, other)


def _end_itself(visitor: Visitor, own: Session, others: list[Device]) -> None:
    """One leaves from its own list, or by logging out: its cookie goes, too."""
    other, session = others[0]
    ref = other.devices(session)
    if ref is None:
        return
    others.pop(0)
    if visitor.random.random() < 0.5:
        other.end(session, f"/devices/{ref}/end", [session])
        visitor.find_over(session, other)
    else:
        visitor.finish(session, other)


def _log_in_anew(visitor: Visitor, own: Session, others: list[Device]) -> None:
    """One logs in again over its session: that one is replaced, and no other."""
    other, session = others.pop(0)
    others.append((other, other.login(session.user, visitor.password, replacing=session)))
    visitor.find_over(session, other)
    other.devices(others[-1][1])


def _end_a_stranger(visitor: Visitor, own: Session) -> None:
    """Ask for the end of another user's session by its name: nothing happens to it."""
    other = visitor.new_browser()
    session = other.login(visitor.new_name(), visitor.password)
    if ref := other.devices(session):
        visitor.browser.end(own, f"/devices/{ref}/end", [])
    other.read(session)
    visitor.finish(session, other)
