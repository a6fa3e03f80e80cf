"""The pages as the templates write them: escaping, labels, and nothing that the CSP would block."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tornado.template import Loader

from app.handlers import error_pages

ROOT = Path(__file__).parents[2]
APP = ROOT / "app"
EVIL = """<script>alert("1")</script>'&"""
EXAMPLES: dict[str, dict[str, Any]] = {
    "login.html": {
        "error": "Wrong.",
        "notice": None,
        "name": EVIL,
        "again": False,
        "next": EVIL,
        "demo_hint": EVIL,
    },
    "logout.html": {"user": EVIL, "unknown": False},
    "error.html": {
        "status": 404,
        "title": EVIL,
        "text": EVIL,
        "request_id": EVIL,
        "again": None,
    },
    "devices.html": {
        "user": EVIL,
        "devices": [
            {
                "ref": "0123456789abcdef",
                "created": 1_700_000_000.5,
                "last_seen": 1_700_000_060.5,
                "agent": EVIL,
                "address": "127.0.0.1",
                "current": True,
            }
        ],
        "browser": str,
    },
    "main.html": {
        "user": EVIL,
        "worker": EVIL,
        "visits": 12,
        "version": 5,
        "created": 1_700_000_000.5,
        "age": 61.9,
        "slow": True,
        "idle_expires_in": 1799.9,
        "absolute_expires_in": 43199.9,
    },
}


class Page(HTMLParser):
    """The tags of a page, each with its attributes, and the text between them."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += " ".join([*data.split(), ""])

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    def by_id(self, name: str) -> dict[str, str | None]:
        (found,) = [attrs for _, attrs in self.tags if attrs.get("id") == name]
        return found


def static_url(path: str) -> str:
    """What Tornado's static_url does, for a file that is there."""
    assert (APP / "static" / path).is_file()
    return f"/static/{path}?v=1"


def page(template: str, **changes: Any) -> Page:
    values = EXAMPLES.get(template, {}) | changes
    loader = Loader(str(APP / "templates"))
    return Page(loader.load(template).generate(static_url=static_url, **values).decode())


def test_every_example_has_a_page() -> None:
    """The tests below cover templates that exist; a page that somebody adds may have tests of its own."""
    templates = {path.name for path in (APP / "templates").glob("*.html")}
    assert templates >= {"base.html", *EXAMPLES}


@pytest.mark.parametrize("template", EXAMPLES)
def test_values_are_escaped(template: str) -> None:
    """A name, an address or a text full of markup is shown as text."""
    shown = page(template)
    values = [attrs.get("value") for attrs in shown.all("input")]
    assert EVIL in shown.text or EVIL in values
    assert all(attrs.get("src") for attrs in shown.all("script"))


@pytest.mark.parametrize("template", EXAMPLES)
def test_nothing_inline(template: str) -> None:
    """No inline style, script or event attribute: `default-src 'self'` would block it."""
    shown = page(template)
    names = {name for _, attrs in shown.tags for name in attrs}
    assert not shown.all("style")
    assert not [name for name in names if name == "style" or name.startswith("on")]


@pytest.mark.parametrize("template", EXAMPLES)
def test_static_files_are_versioned(template: str) -> None:
    """Each stylesheet, script and picture is named with its version, so it may be cached for good."""
    shown = page(template)
    links = [attrs["href"] for attrs in shown.all("link")]
    sources = [attrs["src"] for tag in ("script", "img") for attrs in shown.all(tag)]
    assert len(links) == 2
    assert all(re.fullmatch(r"/static/[\w.]+\?v=1", url or "") for url in links + sources)


def test_scripts_import_nothing() -> None:
    """Scripts load no other file: such a file would come without its version."""
    for script in (APP / "static").glob("*.js"):
        assert not re.search(r"^\s*import\b|\bimport\(", script.read_text(), re.MULTILINE)


WRITES_MARKUP = (
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"
)
STORES = r"localStorage|sessionStorage|indexedDB|document\.cookie|\bcaches\."


def test_scripts_write_text() -> None:
    """Scripts put no markup into a page, and nothing into the browser's storage; doing so would be seen."""
    scripts = [path.read_text() for path in (APP / "static").glob("*.js")]
    assert scripts
    for pattern in (WRITES_MARKUP, STORES):
        assert not [script for script in scripts if re.search(pattern, script)]
    assert re.search(WRITES_MARKUP, "row.innerHTML = name")
    assert re.search(STORES, "localStorage.setItem('user', name)")


@pytest.mark.parametrize("template", EXAMPLES)
def test_frame(template: str) -> None:
    """Each page has a language, one heading of the first rank, one main part and a way to skip to it."""
    shown = page(template)
    assert shown.all("html") == [{"lang": "en"}]
    assert len(shown.all("h1")) == len(shown.all("main")) == 1
    assert shown.by_id("content") == {"id": "content"}
    assert shown.all("a")[0]["href"] == "#content"


def test_login_form() -> None:
    """Each field has a label, and name and password say what they are to a password manager."""
    shown = page("login.html")
    assert {label["for"] for label in shown.all("label")} == {
        "username",
        "password",
        "stay",
    }
    assert shown.by_id("username")["autocomplete"] == "username"
    assert shown.by_id("password")["autocomplete"] == "current-password"
    assert shown.by_id("password")["type"] == "password"
    assert shown.by_id("password").get("value") is None
    assert shown.all("form") == [{"method": "post", "action": "/login"}]


def test_login_starts_at_the_empty_field() -> None:
    """The cursor starts in the name, or in the password when the name is already there."""
    fresh, again = page("login.html", name="", error=None), page("login.html", name="ann")
    assert "autofocus" in fresh.by_id("username")
    assert "autofocus" not in fresh.by_id("password")
    assert "autofocus" in again.by_id("password")
    assert "autofocus" not in again.by_id("username")


def test_login_error_is_announced() -> None:
    """A refused login says so in the title, in an alert, and beside both fields."""
    shown = page("login.html")
    assert shown.by_id("error")["role"] == "alert"
    assert shown.by_id("username")["aria-describedby"] == "error"
    assert shown.by_id("password")["aria-describedby"] == "error"
    assert "Error: Log in" in shown.text
    assert "Error" not in page("login.html", error=None).text


def test_demo_hint_only_when_given() -> None:
    """The demo hint is the handler's text, and nothing about a demo is shown without one."""
    hinted = page("login.html", demo_hint="any name; password `demo`")
    assert "Demo: any name; password `demo`" in hinted.text
    assert "demo" not in page("login.html", demo_hint=None).text.lower()


def test_logout_needs_a_button() -> None:
    """GET /logout offers a form that posts, to a visitor who is logged in and to one who is not."""
    for user in ("ann", None):
        assert page("logout.html", user=user).all("form") == [
            {"method": "post", "action": "/logout"}
        ]


def test_logout_claims_nothing_it_does_not_know() -> None:
    """While Redis does not say who a visitor is, GET /logout does not either."""
    anonymous, unknown = "You are not logged in here", "cannot tell whether you are logged in"
    for is_unknown in (False, True):
        shown = page("logout.html", user=None, unknown=is_unknown).text
        assert (anonymous in shown, unknown in shown) == (not is_unknown, is_unknown)


@pytest.mark.parametrize(("status", "hint"), [(404, False), (403, False), (429, True), (503, True)])
def test_error_says_whether_to_try_again(status: int, hint: bool) -> None:
    """What passes by itself may be tried again; what does not leads back to the main page."""
    assert ("try again" in page("error.html", status=status).text) is hint


def test_error_tries_again_by_itself() -> None:
    """A page that is told to tries again by itself, with a script of its own file, and says so."""
    waiting, final = page("error.html", status=503, again=4), page("error.html", status=404)
    assert waiting.by_id("again")["data-seconds"] == "4"
    assert [attrs["src"] for attrs in waiting.all("script")] == ["/static/again.js?v=1"]
    assert final.all("script") == []


@pytest.mark.parametrize("path", error_pages.pages(), ids=lambda path: path.stem)
def test_nginx_errors_look_alike(path: Path) -> None:
    """nginx's own error pages are what the template makes of them (`python -m app.handlers.error_pages`)."""
    assert path.read_text() == error_pages.pages()[path]


def test_no_other_nginx_errors() -> None:
    """Each error page of nginx is made, and each that is named in its configuration is there."""
    text = (ROOT / "nginx/snippets/error-pages.conf").read_text()
    configured = re.findall(r"error_page (\d+) /static/errors/(\d+)\.html;", text)
    made = sorted(path.stem for path in error_pages.pages())
    assert sorted(path.stem for path in error_pages.FOLDER.iterdir()) == made
    assert configured == [(status, status) for status in made]


def test_errors_in_json_say_the_same() -> None:
    """What nginx says of an error in JSON is what its page says."""
    text = (ROOT / "nginx/snippets/errors.conf").read_text()
    said = re.findall(r'^    (\d+) "(.+)";$', text, re.MULTILINE)

    assert {int(status): sentence for status, sentence in said} == error_pages.TEXTS


def test_slow_is_only_offered_where_it_exists() -> None:
    """The button for a slow request is there only with the demo's endpoints."""
    runs = [button.get("data-run") for button in page("main.html", slow=False).all("button")]
    assert "atOnce" in runs
    assert "slow" not in runs


def test_login_says_why() -> None:
    """A browser whose session has ended reads why, as a status and not as an error."""
    shown = page("login.html", error=None, notice="An administrator has ended this session.")
    assert shown.by_id("notice")["role"] == "status"
    assert "An administrator has ended this session." in shown.text
    assert "Error" not in shown.text


def test_main_says_what_the_session_holds() -> None:
    """Visits, version, the start and both times left are there before any script runs."""
    text = page("main.html").text
    assert "Since 2023-11-14 22:13:20 UTC" in text
    assert "Ends if unused in 0:29:59" in text
    assert "Ends at the latest in 11:59:59" in text
    assert "Age 0:01:01" in text
    assert "12 visits" in text
    assert "Version 5" in text


@pytest.mark.parametrize("template", EXAMPLES)
def test_help_is_linked(template: str) -> None:
    """Each page links to the section of /help that explains it, and every link there leads to a section that exists."""
    sections = {attrs.get("id") for attrs in page("help.html").all("h2")}
    links = [link["href"] or "" for link in page(template).all("a")]
    parts = {link.partition("#")[2] for link in links if link.startswith("/help")}
    assert parts
    assert parts <= sections
