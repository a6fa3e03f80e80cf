"""The running stack that tests in several folders share, and one for a test that breaks something."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.native.scratch import Scratch, scratch_stack
from deploy.paths import ROOT
from tests.orphans import orphans

ORPHANS_BEFORE = pytest.StashKey[set[tuple[int, str]]]()
UPSTREAM = Path(__file__).parents[1] / "nginx/upstream.conf"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Remember the processes that have nothing to do with these tests."""
    session.stash[ORPHANS_BEFORE] = orphans(ROOT)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """When all tests are over, no process runs on that outlived whoever started it; else the run fails."""
    if hasattr(session.config, "workerinput"):  # one of several processes: others are at work
        return
    deadline = time.monotonic() + 10
    while left := orphans(ROOT) - session.stash[ORPHANS_BEFORE]:
        if time.monotonic() > deadline:
            print(f"\nSTILL RUNNING after the tests: {sorted(left)}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            return
        time.sleep(0.1)


@pytest.fixture(scope="session")
def stack() -> Iterator[Scratch]:
    """The native stack on free ports.  Shared by all tests: whoever breaks something takes its own."""
    with scratch_stack(UPSTREAM, os.environ) as stack:
        yield stack


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> str:
    """The address of a running stack: HOST when given, for instance one in Docker, else `stack`."""
    given = os.environ.get("HOST")
    if given:
        return given.rstrip("/")
    stack: Scratch = request.getfixturevalue("stack")
    return stack.url


StartStack = Callable[..., Scratch]


@pytest.fixture
def start_stack(tmp_path: Path) -> Iterator[StartStack]:
    """Starts a native stack of this test's own; keyword arguments are settings, as in .env.

    With `workers` it has only the first of those in nginx/upstream.conf: each takes a second to start, and
    three to be restarted.
    """
    with ExitStack() as running:

        def start(*, workers: int | None = None, **settings: str) -> Scratch:
            upstream = UPSTREAM
            if workers is not None:
                upstream = tmp_path / "fewer.conf"
                upstream.write_text(with_workers(workers))
            return running.enter_context(scratch_stack(upstream, os.environ, **settings))

        yield start


def with_workers(count: int) -> str:
    """nginx/upstream.conf with the first of its workers alone."""
    text = UPSTREAM.read_text()
    for line in re.findall(r"^ *server app:.*\n", text, re.MULTILINE)[count:]:
        text = text.replace(line, "")
    return text
