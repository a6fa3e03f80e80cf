"""Single fields of a session: parallel read-modify-write of one, parallel writers of others."""

import gevent
from gevent.pool import Pool

from loadtest.check.op import Outcome
from loadtest.load.browser import CONNECTIONS, Browser, Visit
from loadtest.scenarios import Visitor
from loadtest.scenarios.farewell import say_farewell

ROUNDS = 3
ADDS = 3  # at once; each answer is a position, so a lost one shows
COUNTER, NOTES = "counter", ("note-a", "note-b")


def change_fields(visitor: Visitor) -> None:
    """Add to one field from several requests at once while each other field has one writer."""
    browser = visitor.browser
    session = browser.login(visitor.new_name(), visitor.password)
    pool = Pool(CONNECTIONS)
    writers = [pool.spawn(_write_note, browser, session, key) for key in NOTES]
    for _ in range(ROUNDS):
        adds = [pool.spawn(browser.add, session, COUNTER) for _ in range(ADDS)]
        gevent.joinall(adds, raise_error=True)
        browser.get(session, COUNTER)
    gevent.joinall(writers, raise_error=True)
    _delete_beside_writers(browser, session)
    say_farewell(visitor, session)


def _write_note(browser: Browser, session: Visit, key: str) -> None:
    """Count up in a field of one's own; reading it back must give what was written last."""
    for value in range(1, ROUNDS + 1):
        if browser.put(session, key, value).outcome is not Outcome.OK:
            return  # the next value would leave a gap that nobody could explain
        browser.get(session, key)


def _delete_beside_writers(browser: Browser, session: Visit) -> None:
    """Delete a field while others are written: none of those writers may bring it back."""
    pool = Pool(CONNECTIONS)
    requests = [pool.spawn(browser.add, session, COUNTER) for _ in range(ADDS)]
    gevent.sleep(0)  # they are sent first, and may be served before, after or around the delete
    browser.delete(session, NOTES[0])
    gevent.joinall(requests, raise_error=True)
    browser.get(session, NOTES[0])
    browser.get(session, COUNTER)
