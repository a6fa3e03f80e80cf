"""Open arrivals while sessions come to their end faster than new ones begin."""

import subprocess
import sys

# In a process of its own: Locust's client patches the standard library.
LOGINS_STOP = """
from itertools import count
from random import Random
from types import SimpleNamespace
from loadtest.load.browser import LoginFailed
from loadtest.scenarios.arrivals import SESSIONS, serve_arrivals
import gevent, time

logins = count()

def log_in():
    if next(logins) >= SESSIONS:
        raise LoginFailed("503")
    return SimpleNamespace(begun=time.monotonic_ns())

def send(session, due):
    gevent.sleep(0.01)

browser = SimpleNamespace(visit=send, read=send, page=send)
lifetimes = SimpleNamespace(absolute_seconds=0.5)
farewells = []
visitors = [
    SimpleNamespace(browser=browser, random=Random(n), log_in=log_in, lifetimes=lifetimes,
                    finish=farewells.append)
    for n in range(SESSIONS)
]
recorder = SimpleNamespace(arrivals=0, dropped=0)
end = time.monotonic() + 1
serve_arrivals(visitors, recorder, 400, 1, lambda: time.monotonic() > end)
assert len(farewells) == SESSIONS, farewells
assert 0 < recorder.dropped < recorder.arrivals, recorder
"""


def test_no_session_left() -> None:
    """Arrivals that find no session are dropped and counted; the generator does not stumble."""
    run = subprocess.run([sys.executable, "-c", LOGINS_STOP], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
