"""The scenario of one login too many, on machines that are quick and slow."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own: Locust's client patches the standard library.
ONE_TOO_MANY = """
import sys, time
from itertools import count
from types import SimpleNamespace
from loadtest.check.op import Lifetimes
from loadtest.load.browser import Session
from loadtest.scenarios.logins import log_in_too_often

SECONDS_AGO = float(sys.argv[1])
labels = count()

def login(user, password, ends=()):
    sent = time.monotonic_ns() - int(SECONDS_AGO * 1e9)
    return Session(f"s{next(labels)}", user, ["sid=x"], sent, sent)

def nothing(*_):
    pass

looked, finished = [], []
browser = SimpleNamespace(login=login, visit=nothing, read=nothing, devices=nothing, end=nothing)
log_in_too_often(SimpleNamespace(
    most_sessions=3, password="demo", new_name=lambda: "ann", new_browser=lambda: browser, missing=(),
    lifetimes=Lifetimes(3, 6, 0.3), find_over=lambda session, _: looked.append(session.label),
    finish=lambda session, _: finished.append(session.label),
))
print(*looked, "|", *finished)
"""


@pytest.mark.parametrize(("ago", "done"), [("0", "s0 s1 s2 s3 |\n"), ("4", "| s1 s2 s3\n")])
def test_oldest_session_is_over_unless_a_timeout_made_room(ago: str, done: str) -> None:
    """The cap ends the oldest session; where another may have timed out meanwhile, nothing is claimed of it."""
    run = subprocess.run([sys.executable, "-c", ONE_TOO_MANY, ago], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == (done, "")
