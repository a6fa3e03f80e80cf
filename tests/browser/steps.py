"""What a visitor does in a browser, as the tests say it."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

OpenPage = Callable[..., Page]
Picture = Callable[[Page, str], None]

SOON_MS = 3000  # a second is the promise (tests/integration measures it); the rest is the browser's
HELD = re.compile(r"^Worker \S+:\d+ holds this page's event stream\.$")


def fill_in(page: Page, name: str, password: str) -> None:
    """Fill in the form and press the button, as a visitor does."""
    write_in(page, name, password)
    press_log_in(page)


def write_in(page: Page, name: str, password: str) -> None:
    page.goto("/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)


def press_log_in(page: Page) -> None:
    page.get_by_role("button", name="Log in").click()


def log_in(page: Page, name: str) -> None:
    """Fill in the form and wait for the main page."""
    fill_in(page, name, "demo")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"What's up, {name}?")


def send(page: Page, button: str = "Send 20 requests") -> None:
    """Press the button and wait for the verdict."""
    page.get_by_role("button", name=button).click()
    expect(page.locator("#tiles")).to_have_attribute("aria-busy", "false")


def visit_numbers(page: Page) -> list[int]:
    return [int(number) for number in page.locator(".tile .visit").all_inner_texts()]


def listening(page: Page) -> Page:
    """`page`, once its stream is open."""
    expect(page.locator("#live-state")).to_have_text(HELD)
    return page


def second_tab(page: Page) -> Page:
    """Another tab of the same browser, on the main page."""
    tab = page.context.new_page()
    tab.goto("/")
    return listening(tab)
