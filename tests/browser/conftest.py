"""A real Chromium in front of the real stack, for the tests of the pages.

Without a Chromium on the machine these tests are left out, which the summary says; in CI that fails.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from deploy.upstream.read import read_upstream

UPSTREAM = Path(__file__).parents[2] / "nginx/upstream.conf"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
HOW_TO = (
    "there is no Chromium here; install one (Debian: apt-get install chromium) "
    "or name it: CHROMIUM=/path/to/chromium make test"
)

# No sandbox: as root and in most containers Chromium cannot make one, and it sees only our pages.
# The rest keeps it from asking any other host for anything.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]

CALM = {"reduced_motion": "reduce"}  # the pages then draw without pauses and without fading

if CHROMIUM is None:
    if os.environ.get("CI"):
        raise pytest.UsageError(f"CI must run the browser tests, but {HOW_TO}")
    collect_ignore_glob = ["test_*.py"]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say that something was left out: a quiet gap would look like a pass."""
    if CHROMIUM is None:
        terminalreporter.write_line(f"The browser tests were left out: {HOW_TO}", yellow=True)


@pytest.fixture(scope="session")
def workers() -> int:
    """How many workers the stack sends requests to."""
    return int(os.environ.get("WORKERS") or len(read_upstream(UPSTREAM).served))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium a module: Playwright occupies the thread's event loop while it is open."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Problems(list[str]):
    """What went wrong in the pages of a test: errors on the console, CSP violations, foreign hosts.

    A test that expects one takes it out with `expect`; what is left at the end fails the test.
    """

    def watch(self, page: Page, site: str) -> None:
        def on_console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                self.append(message.text)

        def on_request(request: Request) -> None:
            if urlsplit(request.url).netloc != urlsplit(site).netloc:
                self.append(f"asked another host: {request.url}")

        page.on("console", on_console)
        page.on("pageerror", lambda error: self.append(str(error)))
        page.on("request", on_request)

    def allow(self, part: str) -> None:
        """Take out the problems with `part` in them, if there are any."""
        self[:] = [problem for problem in self if part not in problem]

    def expect(self, part: str) -> None:
        """Take out the problems with `part` in them; there must be one."""
        found = [problem for problem in self if part in problem]
        assert found, f"{part!r} is not among {self}"
        self[:] = [problem for problem in self if problem not in found]


@pytest.fixture
def problems() -> Iterator[Problems]:
    """The list that `open_page` fills; empty at the end, or the test fails."""
    problems = Problems()
    yield problems
    assert problems == []


@pytest.fixture
def open_page(browser: Browser, site: str, problems: Problems) -> Iterator[Callable[..., Page]]:
    """Opens a page in a browser of its own (no cookies yet), with Playwright's context options."""
    contexts = []

    def open_page(**options: Any) -> Page:
        options = {"base_url": site} | CALM | options
        context = browser.new_context(**options)
        context.set_default_timeout(10_000)
        context.on("page", lambda page: problems.watch(page, options["base_url"]))
        contexts.append(context)
        return context.new_page()

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def picture() -> Callable[[Page, str], None]:
    """Saves a page as PNG in the folder that SCREENSHOTS names; does nothing without it."""

    def save(page: Page, name: str) -> None:
        if folder := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    return save
