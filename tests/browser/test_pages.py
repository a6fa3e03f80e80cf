"""The pages in a real Chromium, through nginx: logging in and out, seeing the balancing, and looks."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from playwright.sync_api import Route, expect
from redis import Redis

from deploy.native.options import read_options
from deploy.native.scratch import Scratch
from deploy.native.store import redis_url
from tests.browser.steps import (
    OpenPage,
    Picture,
    fill_in,
    log_in,
    press_log_in,
    second_tab,
    send,
    visit_numbers,
    write_in,
)

LONG_NAME = "W" * 64
TOKYO = timezone(timedelta(hours=9))
NO_STREAMS = "delete window.EventSource"

# Of every piece of visible text: the contrast with what lies behind it, by WCAG's formula.
CONTRASTS = """() => {
  const parse = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
  const linear = (s) => (s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) =>
    0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const pair = [parse(getComputedStyle(element).color), behind(element)].map(luminance);
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    found.push([walker.currentNode.data.trim(), ratio]);
  }
  return found;
}"""


# ---- logging in and out


def test_log_in_through_the_form(open_page: OpenPage) -> None:
    """Asking for the main page leads to the form, and the form to "What's up, NAME?"."""
    page = open_page()
    page.goto("/")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(page.get_by_label("Name")).to_be_focused()
    log_in(page, "Ada")
    assert page.url.endswith("/")


def test_keyboard_alone(open_page: OpenPage) -> None:
    """Without a mouse: log in, send, and the button still has the focus afterwards."""
    page = open_page()
    page.goto("/login")
    page.keyboard.type("Keys")
    page.keyboard.press("Tab")
    page.keyboard.type("demo")
    page.keyboard.press("Enter")
    button = page.get_by_role("button", name="Send 20 requests")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#summary")).to_contain_text("0 inconsistencies")
    expect(button).to_be_focused()


def test_wrong_password(open_page: OpenPage, problems: Any) -> None:
    """A refused login shows one message, keeps the name, and waits for the password."""
    page = open_page()
    fill_in(page, "Ada", "wrong")
    expect(page.get_by_role("alert")).to_have_count(1)
    expect(page.get_by_role("alert")).to_contain_text("do not match")
    expect(page.get_by_label("Name")).to_have_value("Ada")
    expect(page.get_by_label("Password")).to_have_value("")
    expect(page.get_by_label("Password")).to_be_focused()
    problems.expect("401")


def test_too_many_wrong_passwords(open_page: OpenPage, problems: Any) -> None:
    """When guessing at a name is slowed down, the form says so as text, and for how long."""
    page = open_page()
    write_in(page, "Guessed", "demo")
    for _ in range(10):
        form = {"username": "Guessed", "password": "wrong"}
        page.context.request.post("/login", form=form)
    press_log_in(page)  # at once, as the wait is a second
    expect(page.get_by_role("alert")).to_have_text(
        re.compile(r"^Too many wrong passwords for this name\. Try again in \d+ s\.$")
    )
    expect(page.get_by_label("Name")).to_have_value("Guessed")
    problems.expect("429")


def test_a_name_is_text(open_page: OpenPage) -> None:
    """Markup in a name is shown, not run."""
    page = open_page()
    log_in(page, "<b onload=x>&amp;")


def test_log_out(open_page: OpenPage) -> None:
    """Log out leads to the form, which says so; the main page then asks for a login, and Back shows nothing private."""
    page = open_page()
    log_in(page, "Leaver")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(page.get_by_text("You are logged out.")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert "Leaver" not in page.content()


def test_without_javascript(open_page: OpenPage) -> None:
    """With JavaScript off: log in, read the session, reach another worker by reloading, log out."""
    page = open_page(java_script_enabled=False)
    log_in(page, "Plain")
    expect(page.get_by_text("Without JavaScript")).to_be_visible()
    expect(page.get_by_role("button", name="Send 20 requests")).to_be_hidden()
    first = page.locator("#workers .id").inner_text()
    page.reload()
    assert page.locator("#workers .id").inner_text() != first
    page.get_by_role("link", name="Devices").click()
    expect(page.get_by_role("heading", name="This device")).to_be_visible()
    page.get_by_role("button", name="End all others").click()
    expect(page.get_by_role("heading", name="This device")).to_be_visible()
    page.goto("/logout")
    page.locator("main").get_by_role("button", name="Log out").click()
    expect(page.get_by_text("You are logged out.")).to_be_visible()


@pytest.mark.parametrize("button", ["End all, this one too", "End this session"])
def test_end_this_session(open_page: OpenPage, button: str) -> None:
    """Whoever ends this session in the list of devices is told so; the form says nothing to anybody else."""
    page = open_page()
    page.goto("/login")
    expect(page.get_by_text("You are logged out.")).to_be_hidden()
    log_in(page, f"Ender {button}")
    page.goto("/devices")
    page.get_by_role("button", name=button).click()
    expect(page.get_by_text("You are logged out.")).to_be_visible()


def test_help(open_page: OpenPage) -> None:
    """The main page's sections and each page's last line lead to what explains them; Back leads on from there."""
    page = open_page()
    log_in(page, "Reader")
    page.get_by_role("link", name="What each line means").click()
    expect(page.get_by_role("heading", name="Your session")).to_be_in_viewport()
    page.get_by_role("link", name="Back to the main page").click()
    page.goto("/devices")
    page.get_by_role("link", name="What this page shows").click()
    expect(page.get_by_role("heading", name="Your devices")).to_be_in_viewport()


def test_end_the_other_devices(open_page: OpenPage) -> None:
    """The list shows both logins of a user; ending the others leaves this one and logs them out."""
    here, there = open_page(), open_page()
    log_in(there, "Owner")
    log_in(here, "Owner")
    here.get_by_role("link", name="Devices").click()
    expect(here.get_by_role("heading", name="This device")).to_have_count(1)
    expect(here.get_by_role("heading", name="Another device")).to_have_count(1)
    expect(here.get_by_text(re.compile(r"^Chrome \d+ on Linux$"))).to_have_count(2)
    here.get_by_role("button", name="End all others").click()
    expect(here.get_by_role("heading", name="Another device")).to_have_count(0)
    expect(there.get_by_role("heading", name="Log in")).to_be_visible()
    expect(there.get_by_role("status")).to_contain_text("from another of your devices")


def logged_in_before(stack: Scratch, name: str, seconds: float) -> None:
    """Move each login of a user into the past, in the stack's own Redis."""
    options = read_options(stack.settings)
    admin = Redis.from_url(redis_url(options, "admin"))
    for key in admin.scan_iter("session:*"):
        if admin.hget(key, "user") == name.encode():
            admin.hset(key, "created", int(admin.hget(key, "created") or 0) - int(seconds * 1000))
    admin.close()


def test_password_once_more(
    open_page: OpenPage, stack: Scratch, problems: Any, picture: Picture
) -> None:
    """Long after the login the list asks for the password; with it the visitor ends another browser's session."""
    here, there = open_page(base_url=stack.url), open_page(base_url=stack.url)
    log_in(there, "Careful")
    log_in(here, "Careful")
    tab = second_tab(here)
    logged_in_before(stack, "Careful", seconds=3600)
    here.get_by_role("link", name="Devices").click()
    expect(here.get_by_role("heading", name="Your password, once more")).to_be_visible()
    picture(here, "password-again")
    expect(here.get_by_label("Name")).not_to_be_editable()
    here.get_by_label("Password").fill("wrong")
    here.get_by_role("button", name="Go on").click()
    expect(here.get_by_role("alert")).to_be_visible()
    problems.expect("401")
    here.get_by_label("Password").fill("demo")
    with tab.expect_navigation(url="**/"):  # its stream has ended with the old id
        here.get_by_role("button", name="Go on").click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("What's up, Careful?")
    other = here.get_by_role("region", name="Another device")
    other.get_by_role("button", name=re.compile("^End this session")).click()
    expect(other).to_have_count(0)
    expect(here.get_by_role("heading", name="This device")).to_be_visible()
    expect(there.get_by_role("status")).to_contain_text("from another of your devices")


def test_devices_in_local_time(open_page: OpenPage) -> None:
    """The list shows the browser's own time, and a screen reader is told which session a button ends."""
    page = open_page(timezone_id="Asia/Tokyo", locale="en-GB")
    log_in(page, "Traveller")
    page.get_by_role("link", name="Devices").click()
    since = page.locator("dd time").first
    moment = datetime.fromisoformat(since.get_attribute("datetime") or "")
    local = f"{moment.astimezone(TOKYO):%d/%m/%Y, %H:%M:%S}"
    expect(since).to_have_text(local)
    browser = page.locator("dd").first.inner_text()
    session = page.get_by_role("region", name=f"This device {browser} {local}", exact=True)
    ends = f"End this session of {browser}, logged in {local}"
    expect(session.get_by_role("button", name=ends, exact=True)).to_be_visible()


# ---- the balancing


def test_twenty_requests(open_page: OpenPage, workers: int, picture: Picture) -> None:
    """Twenty tiles over all workers, the counter up by one each, one session, nothing inconsistent."""
    page = open_page(color_scheme="dark")
    log_in(page, "Counter")
    send(page)
    expect(page.locator("#summary")).to_have_text(
        f"20 requests, {workers} workers, 1 session, 0 inconsistencies"
    )
    assert visit_numbers(page) == list(range(1, 21))
    assert len(set(page.locator(".tile .label").all_inner_texts())) == workers
    counts = page.locator("#workers .count").all_inner_texts()
    assert sum(map(int, counts)) == 20
    expect(page.locator(".way [data-field=visits]")).to_have_text("20")
    picture(page, "twenty-requests")


def test_a_second_run(open_page: OpenPage) -> None:
    """Pressed again, the button starts with empty tiles, and the counter goes on where it was."""
    page = open_page()
    log_in(page, "Twice")
    send(page)
    send(page)
    assert visit_numbers(page) == list(range(21, 41))
    expect(page.locator("#summary")).to_contain_text("0 inconsistencies")


def test_twenty_at_once(open_page: OpenPage, workers: int, picture: Picture) -> None:
    """Twenty in parallel: each number from 1 to 20 once, over all workers, nothing inconsistent."""
    page = open_page()
    log_in(page, "Crowd")
    send(page, "Send 20 at once")
    expect(page.locator("#summary")).to_have_text(
        f"20 requests, {workers} workers, 1 session, 0 inconsistencies"
    )
    assert sorted(visit_numbers(page)) == list(range(1, 21))
    expect(page.locator(".way [data-field=visits]")).to_have_text("20")
    picture(page, "at-once")


def test_a_number_given_twice_is_told(open_page: OpenPage) -> None:
    """When two parallel requests are told the same number, the verdict says so in words."""
    page = open_page()
    log_in(page, "Twin")
    asked: list[int] = []

    def repeat_a_number(route: Route) -> None:
        answer = route.fetch().json()
        asked.append(answer["visits"])
        route.fulfill(json=answer | {"visits": 3 if answer["visits"] == 5 else answer["visits"]})

    page.route("**/api/visits", repeat_a_number)
    send(page, "Send 20 at once")
    assert sorted(asked) == list(range(1, 21))
    expect(page.locator("#summary")).to_contain_text("2 inconsistencies")
    expect(page.locator("#inconsistencies li")).to_have_text(
        ["2 requests were told that they are visit 3.", "No request was told that it is visit 5."]
    )


def test_a_slow_request(open_page: OpenPage, workers: int, picture: Picture, problems: Any) -> None:
    """While one worker is busy for three seconds, the others answer; what had to wait is counted, once."""
    page = open_page()
    log_in(page, "Slow")
    send(page, "Slow request")
    text = page.locator("#summary").inner_text()
    found = re.fullmatch(
        r"(\S+) was busy for (\d+\.\d) s: (\d+) requests went on to (\d+) other workers, "
        r"(\d+) had to wait; 1 session, 0 inconsistencies",
        text,
    )
    assert found, text
    worker, seconds, went, others, waited = found.groups()
    assert float(seconds) >= 3
    assert re.search(r":\d+$", worker)
    assert 0 < int(others) < workers
    assert int(went) >= int(others)
    assert int(went) + int(waited) <= page.locator(".tile").count()
    late = page.locator(".tile", has=page.get_by_text(re.compile(r"^waited \d")))
    assert late.count() == int(waited) > 0
    # nginx may give the busy worker up first: the request then goes to another one, and counts once.
    problems.allow("504")
    picture(page, "slow-request")


def test_each_worker_has_a_colour(open_page: OpenPage, workers: int) -> None:
    """A worker has the same colour in its row and in all its tiles, and no two share one."""
    page = open_page()
    log_in(page, "Painter")
    send(page)
    tiles = page.locator(".tile").evaluate_all(
        "all => all.map(t => [t.querySelector('.label').innerText, getComputedStyle(t).backgroundColor])"
    )
    rows = page.locator("#workers li").evaluate_all(
        "all => all.map(r => [r.dataset.worker.split(':').pop(), getComputedStyle(r).borderLeftColor])"
    )
    assert {tuple(pair) for pair in tiles} == {tuple(pair) for pair in rows}
    assert len({colour for _, colour in tiles}) == workers


def test_on_an_insecure_address(open_page: OpenPage) -> None:
    """Where the browser offers no randomUUID (plain http by address), the requests still count."""
    page = open_page()
    page.add_init_script("delete Crypto.prototype.randomUUID")
    log_in(page, "Plainhttp")
    send(page)
    assert visit_numbers(page) == list(range(1, 21))


def test_a_lost_answer_counts_once(open_page: OpenPage, problems: Any) -> None:
    """When an answer is lost on the way, the request is repeated and still counted once."""
    page = open_page()
    log_in(page, "Unlucky")
    lost: list[str] = []

    def lose_the_third(route: Route) -> None:
        lost.append(route.request.post_data or "")
        if len(lost) == 3:
            route.fetch()  # it reaches the worker and is counted
            route.abort()
        else:
            route.continue_()

    page.route("**/api/visits", lose_the_third)
    send(page)
    assert lost[2] == lost[3]
    assert visit_numbers(page) == list(range(1, 21))
    expect(page.locator("#summary")).to_contain_text("0 inconsistencies")
    problems.expect("ERR_FAILED")


# ---- what the page says when something is not as it should be


def test_a_counter_that_jumps_is_told(open_page: OpenPage, picture: Picture) -> None:
    """A visit counted from elsewhere in between is shown as an inconsistency, in words."""
    page = open_page()
    log_in(page, "Jumper")
    asked: list[int] = []

    def visit_twice_at_the_fifth(route: Route) -> None:
        asked.append(1)
        if len(asked) == 5:
            page.context.request.post("/api/visits", data={"op": "another tab"})
        route.continue_()

    page.route("**/api/visits", visit_twice_at_the_fifth)
    send(page)
    expect(page.locator("#summary")).to_contain_text("1 inconsistency")
    expect(page.locator("#inconsistencies")).to_have_text(
        "Request 5: the counter says 6, expected 5."
    )
    picture(page, "inconsistency")


def test_another_user_is_told(open_page: OpenPage) -> None:
    """When the browser's session has become somebody else's, a page without a stream says so."""
    page = open_page()
    page.add_init_script(NO_STREAMS)
    log_in(page, "First")
    page.context.request.post("/login", form={"username": "Second", "password": "demo"})
    send(page)
    expect(page.locator("#inconsistencies li").first).to_contain_text(
        "answered for Second, not First."
    )
    expect(page.locator("#summary")).to_contain_text("2 inconsistencies")


def test_logged_out_meanwhile(open_page: OpenPage, problems: Any) -> None:
    """After a logout in another tab, on a page without a stream, the button says so and links to the login."""
    page = open_page()
    page.add_init_script(NO_STREAMS)
    log_in(page, "Gone")
    page.context.request.post("/logout")
    send(page)
    expect(page.locator("#stopped")).to_contain_text("You are logged out")
    expect(page.locator("#summary")).to_contain_text("0 of 20 requests")
    page.locator("#stopped").get_by_role("link", name="Log in").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    problems.expect("401")


def test_the_store_away_meanwhile(open_page: OpenPage, problems: Any) -> None:
    """A 503 in the middle is shown as text that tells when to try again; what was done stays."""
    page = open_page()
    log_in(page, "Waiter")
    asked: list[int] = []

    def away_at_the_fourth(route: Route) -> None:
        asked.append(1)
        if len(asked) == 4:
            route.fulfill(status=503, headers={"Retry-After": "2"}, json={"error": "no store"})
        else:
            route.continue_()

    page.route("**/api/visits", away_at_the_fourth)
    send(page)
    expect(page.locator("#stopped")).to_contain_text("(503). You stay logged in: try again in 2 s.")
    expect(page.locator("#summary")).to_contain_text("3 of 20 requests")
    assert visit_numbers(page) == [1, 2, 3]
    problems.expect("503")


def test_the_network_away(open_page: OpenPage, problems: Any) -> None:
    """Without a network the page says that no answer came, and works again afterwards."""
    page = open_page()
    log_in(page, "Offline")
    page.context.set_offline(True)
    send(page)
    expect(page.locator("#stopped")).to_contain_text("No answer")
    page.context.set_offline(False)
    send(page)
    expect(page.locator("#summary")).to_contain_text("0 inconsistencies")
    expect(page.locator("#stopped")).to_be_hidden()
    problems.expect("ERR_INTERNET_DISCONNECTED")


def test_an_injected_script_is_blocked(open_page: OpenPage, problems: Any) -> None:
    """Script and style written into a page do nothing, and the browser's complaint is noticed here."""
    page = open_page()
    page.goto("/login")
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "document.title = 'injected'";
          document.body.append(script);
          document.body.insertAdjacentHTML("beforeend", "<p id=styled style='color: red'>x</p>");
        }"""
    )
    assert page.title() != "injected"
    expect(page.locator("#styled")).not_to_have_css("color", "rgb(255, 0, 0)")
    assert len([problem for problem in problems if "Content Security Policy" in problem]) >= 2
    problems.expect("Content Security Policy")


# ---- the clocks


def test_both_lifetimes_count_down(open_page: OpenPage) -> None:
    """Five minutes later both clocks show five minutes less; at the end the page says it is over."""
    page = open_page()
    page.clock.install()
    log_in(page, "Patient")
    idle = page.locator("[data-left=idle_expires_in]")
    before = idle.inner_text()
    page.clock.fast_forward("05:00")
    assert seconds(before) - seconds(idle.inner_text()) in range(298, 303)
    page.clock.fast_forward("24:00:00")
    expect(idle).to_have_text("expired: log in again")


def seconds(clock: str) -> int:
    hours, minutes, rest = map(int, clock.split(":"))
    return hours * 3600 + minutes * 60 + rest


# ---- looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_looks(
    open_page: OpenPage, picture: Picture, problems: Any, width: int, scheme: str
) -> None:
    """At 360 and 1440 px, light and dark: nothing is cut off sideways, and all text is readable."""
    page = open_page(viewport={"width": width, "height": 800}, color_scheme=scheme)

    def look(name: str) -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        faint = [found for found in page.evaluate(CONTRASTS) if found[1] < 4.5]
        assert faint == [], name
        picture(page, f"{name}-{scheme}-{width}")

    page.goto("/login")
    look("login")
    fill_in(page, LONG_NAME, "wrong")
    look("login-refused")
    problems.expect("401")
    log_in(page, LONG_NAME)
    look("main")
    send(page)
    look("main-sent")
    page.goto("/devices")
    look("devices")
    page.goto("/logout")
    look("logout")
    page.goto("/no-such-page")
    look("error")
    problems.expect("404")


def test_both_schemes_differ(open_page: OpenPage) -> None:
    """The dark page is dark and the light one light."""
    pages = [open_page(color_scheme=scheme) for scheme in ("light", "dark")]
    shades = []
    for page in pages:
        page.goto("/login")
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades.append(sum(map(int, re.findall(r"\d+", colour))))
    assert shades[0] > 600 > 150 > shades[1]
