"""The live panel in real tabs: visits, alerts and the end of a session, over whichever workers."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from deploy.native.scratch import Scratch
from tests.browser.steps import (
    HELD,
    SOON_MS,
    OpenPage,
    Picture,
    listening,
    log_in,
    second_tab,
    send,
)


def line(page: Page, text: str) -> Any:
    return expect(page.locator("#live-lines li", has_text=text).first)


def test_visits_of_another_tab(open_page: OpenPage, picture: Picture) -> None:
    """Twenty visits made in one tab show in the other at once, though all workers had a part in them."""
    here = open_page()
    log_in(here, "Tabs")
    there = second_tab(listening(here))
    send(here)
    expect(there.locator(".facts [data-field=visits]")).to_have_text("20", timeout=SOON_MS)
    expect(there.locator(".facts [data-field=version]")).to_have_text("21")
    line(there, "Visit 20").to_be_visible()
    expect(here.locator("#live-lines li")).to_have_count(0)  # its own visits are no news
    picture(there, "live")


def test_alerts(open_page: OpenPage) -> None:
    """What one user types, the other reads at once, and markup is text."""
    ann, bob = open_page(), open_page()
    log_in(ann, "Ann")
    log_in(bob, "Bob")
    listening(ann), listening(bob)
    ann.get_by_label("Alert everybody").fill("<b>lunch</b> at noon")
    ann.get_by_role("button", name="Send alert").click()
    for page in (ann, bob):
        line(page, "Ann: <b>lunch</b> at noon").to_be_visible(timeout=SOON_MS)
    expect(ann.get_by_label("Alert everybody")).to_have_value("")


def test_an_alert_that_is_refused(open_page: OpenPage, problems: Any) -> None:
    """An alert that was not sent is told as text, and what was typed stays."""
    page = open_page()
    log_in(page, "Mute")
    page.route("**/api/alerts", lambda route: route.fulfill(status=429, json={"error": "x"}))
    page.get_by_label("Alert everybody").fill("again")
    page.get_by_role("button", name="Send alert").click()
    expect(page.get_by_role("alert")).to_have_text("The alert was not sent (429).")
    expect(page.get_by_label("Alert everybody")).to_have_value("again")
    problems.expect("429")


def test_logout_closes_the_other_tabs(open_page: OpenPage) -> None:
    """A logout in one tab takes all others to the login page, which says why, and Back shows nothing."""
    here = open_page()
    log_in(here, "Leaver")
    there, devices = second_tab(listening(here)), here.context.new_page()
    with devices.expect_response("**/events"):
        devices.goto("/devices")
    here.get_by_role("button", name="Log out").click()
    for page in (there, devices):
        page.wait_for_url("**/login?ended=logout&*", timeout=SOON_MS)
        expect(page.get_by_role("status")).to_contain_text("ended in another tab")
    expect(here.get_by_role("heading", name="Log in")).to_be_visible()
    assert here.url.endswith("/login")
    there.go_back()
    assert "Leaver" not in there.content()


def test_ended_from_another_device(open_page: OpenPage) -> None:
    """A session ended on the device list leaves for the login page, and comes back to the same page."""
    here, there = open_page(), open_page()
    log_in(there, "Keeper")
    log_in(here, "Keeper")
    with there.expect_response("**/events"):
        there.goto("/devices")
    here.goto("/devices")
    other = here.locator("section", has=here.get_by_role("heading", name="Another device"))
    other.get_by_role("button", name="End this session").click()
    there.wait_for_url("**/login?ended=device&*", timeout=SOON_MS)
    there.get_by_label("Name").fill("Keeper")
    there.get_by_label("Password").fill("demo")
    there.get_by_role("button", name="Log in").click()
    there.wait_for_url("**/devices")


def test_the_reason_is_ours(open_page: OpenPage) -> None:
    """The login page shows its own sentences, never a text that stands in the address."""
    page = open_page()
    page.goto("/login?ended=You+have+won")
    expect(page.get_by_role("status")).to_have_count(0)
    assert "won" not in page.content()


def test_streams_unavailable(open_page: OpenPage, problems: Any) -> None:
    """Where no stream can be had the panel says so, and everything else works; later it tries again."""
    page = open_page()
    page.route("**/events", lambda route: route.fulfill(status=503, json={"error": "x"}))
    log_in(page, "Deaf")
    expect(page.locator("#live-state")).to_contain_text("not available at the moment")
    send(page)
    expect(page.locator("#summary")).to_contain_text("0 inconsistencies")
    page.unroute("**/events")
    expect(page.locator("#live-state")).to_have_text(HELD)
    problems.expect("503")


def test_a_browser_without_event_source(open_page: OpenPage) -> None:
    """A browser without EventSource shows the same note."""
    page = open_page()
    page.add_init_script("delete window.EventSource")
    log_in(page, "Old")
    expect(page.locator("#live-state")).to_contain_text("not available at the moment")


@pytest.mark.long
@pytest.mark.parametrize("tabs", [8])
def test_many_tabs(open_page: OpenPage, tabs: int) -> None:
    """Eight tabs share four streams, as a browser has six connections to a site; all hear what happens."""
    first = open_page()
    log_in(first, "Hoarder")
    pages = [first]
    for _ in range(tabs - 1):
        pages.append(first.context.new_page())
        pages[-1].goto("/")
    states = [page.locator("#live-state") for page in pages]
    for state in states[:4]:
        expect(state).to_have_text(HELD)
    for state in states[4:]:
        expect(state).to_have_text("Another tab of this browser holds the stream for this one.")
    send(pages[-1])
    expect(pages[-2].locator(".facts [data-field=visits]")).to_have_text("20", timeout=SOON_MS)
    first.close()  # the one that told the others: somebody takes its place
    expect(states[4]).to_have_text(HELD)
    pages[1].get_by_role("button", name="Log out").click()
    for page in pages[2:]:
        page.wait_for_url("**/login?ended=logout&*", timeout=SOON_MS)


@pytest.mark.native
def test_over_https(open_page: OpenPage, stack: Scratch) -> None:
    """Over https and HTTP/2 the panel works alike: alerts, and a logout that the other tab follows."""
    page = open_page(base_url=f"https://127.0.0.1:{stack.https_port}", ignore_https_errors=True)
    log_in(page, "Secure")
    there = second_tab(listening(page))
    page.get_by_label("Alert everybody").fill("over https")
    page.get_by_role("button", name="Send alert").click()
    line(there, "Secure: over https").to_be_visible(timeout=SOON_MS)
    page.get_by_role("button", name="Log out").click()
    there.wait_for_url("**/login?ended=logout&*", timeout=SOON_MS)
