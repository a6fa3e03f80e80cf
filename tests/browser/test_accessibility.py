"""axe-core on every page: nothing that keeps people from using it."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.steps import OpenPage, fill_in, log_in, send


def serious(page: Page) -> list[str]:
    """What axe-core finds that is serious or critical, each with the elements concerned."""
    violations = Axe().run(page).response["violations"]
    return [
        f"{found['id']}: {[node['html'] for node in found['nodes']]}"
        for found in violations
        if found["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious(open_page: OpenPage, problems: Any, scheme: str) -> None:
    """No page, in the light or the dark, has what axe-core calls serious or critical."""
    page = open_page(color_scheme=scheme)
    fill_in(page, "Ada", "wrong")
    expect(page.get_by_role("alert")).to_be_visible()
    assert serious(page) == []
    problems.expect("401")
    page.goto("/login?ended=device")
    assert serious(page) == []
    log_in(page, "Ada")
    page.get_by_label("Alert everybody").fill("hello")
    page.get_by_role("button", name="Send alert").click()
    expect(page.locator("#live-lines li").first).to_be_visible()
    send(page)
    assert serious(page) == []
    for path in (
        "/devices",
        "/login?again=1",
        "/logout",
        "/help",
        "/no-such-page",
        "/static/errors/502.html",
    ):
        page.goto(path)
        assert serious(page) == [], path
    problems.expect("404")


def test_something_serious_is_found(open_page: OpenPage) -> None:
    """A field without a label and text too faint to read are found: the check can fail."""
    page = open_page()
    page.goto("/login")
    page.evaluate(
        """() => {
          document.querySelector("label[for=username]").remove();
          document.querySelector("h1").classList.add("faint");
          const sheet = new CSSStyleSheet();
          sheet.replaceSync(".faint { color: #ccc; background: #fff }");
          document.adoptedStyleSheets = [sheet];
        }"""
    )
    found = " ".join(serious(page))
    assert "label: " in found
    assert "color-contrast: " in found
