"""Single fields of a session: parallel read-modify-write of one, parallel writers of others."""

from itertools import islice

import gevent
from gevent.pool import Pool

from loadtest.check.op import Outcome
from loadtest.load.browser import CONNECTIONS, Browser, Session
from loadtest.scenarios import Visitor

ROUNDS = 3
ADDS = 3  # at once; each answer is a position, so a lost one shows
WRITERS = 2
VISITS = 3  # by different workers
COUNTER = "counter"
LONG = f'"{"long " * 1200}"'  # two of them fit into a session
# Names and values that are easily mistaken for another one, shortened, or thought to be nothing.
KEYS = ("note", "Note", "a b", "a.b:c", "☃", "__proto__", "0", "n" * 100)
VALUES = (
    ("0", '""', "false", "null", "[]", "{}"),
    ("1", '"1"', "true", '"true"', '"null"', "[1]"),
    ('"Zoë"', '"漢字 🙂"', r'"\u0000 \t \" \\ / \u202e"', '"e\u0301"', '"&lt;b&gt; %20 +"'),
    ("0.1", "-0.5", "1e300", "0.30000000000000004", "9007199254740991", "-9007199254740991"),
    ("-2.5e-7", "3.141592653589793", "4294967296", "2147483648", "5e-324", "1234567890.125"),
    ('{"a":1}', '{"b":{"c":[null,{}]}}', '{"a":1,"b":2}', "[[[[1]]],2]", '{"":"", "a":{"a":{}}}'),
    (LONG, '"short"', f"[{','.join(map(str, range(300)))}]", '"long"'),
)


def change_fields(visitor: Visitor) -> None:
    """Add to one field from several requests at once while each other field has one writer."""
    browser, random = visitor.browser, visitor.random
    session = visitor.log_in()
    pool = Pool(CONNECTIONS)
    keys = random.sample(KEYS, WRITERS)
    writers = [pool.spawn(_write, browser, session, key, random.choice(VALUES)) for key in keys]
    for _ in range(ROUNDS):
        adds = [pool.spawn(browser.add, session, COUNTER) for _ in range(ADDS)]
        gevent.joinall(adds, raise_error=True)
        browser.count(session, COUNTER)
    gevent.joinall(writers, raise_error=True)
    _delete_beside_writers(browser, session, keys[0])
    browser.page(session)
    for key in keys:
        browser.get(session, key)
    visitor.finish(session)


def _write(browser: Browser, session: Session, key: str, values: tuple[str, ...]) -> None:
    """One value after the other; reading it back must give what was written last."""
    for text in islice(values, ROUNDS):
        if browser.put(session, key, text).outcome is not Outcome.OK:
            return  # what may have been written could not be told from what was
        browser.get(session, key)


def _delete_beside_writers(browser: Browser, session: Session, key: str) -> None:
    """Delete a field while others are written: none of those writers may bring it back, nor a later one."""
    pool = Pool(CONNECTIONS)
    requests = [pool.spawn(browser.add, session, COUNTER) for _ in range(ADDS)]
    gevent.sleep(0)  # they are sent first, and may be served before, after or around the delete
    browser.delete(session, key)
    gevent.joinall(requests, raise_error=True)
    browser.get(session, key)
    gevent.joinall([pool.spawn(browser.visit, session) for _ in range(VISITS)], raise_error=True)
    browser.get(session, key)
    browser.count(session, COUNTER)
