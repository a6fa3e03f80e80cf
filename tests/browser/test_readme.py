"""The picture of the page that the README shows.  To draw it anew, with `make run` running elsewhere:

`HOST=http://127.0.0.1:8080 SCREENSHOTS=docs .venv/bin/python -m pytest tests/browser/test_readme.py`
"""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.browser.steps import OpenPage, Picture, listening, log_in, second_tab, send

ROOT = Path(__file__).parents[2]


def test_pictures(open_page: OpenPage, picture: Picture, workers: int) -> None:
    """The main page in a wide window and in the dark, with all that the README says can be seen there."""
    page = open_page(viewport={"width": 1100, "height": 800})
    log_in(page, "ann")
    other = second_tab(listening(page))
    send(page, "Send 20 at once")
    other.get_by_label("Alert everybody").fill("Deploy at noon")
    other.get_by_role("button", name="Send alert").click()
    other.context.request.post("/api/visits", data={"op": "elsewhere"})
    expect(page.locator("#live-lines li")).to_have_count(2)
    expect(page.locator("#summary")).to_have_text(
        f"20 requests, {workers} workers, 1 session, 0 inconsistencies"
    )
    picture(page, "page")


def test_pictures_are_there() -> None:
    """The README shows a picture of the page, which lies in docs/ and is not large."""
    assert "](docs/page.png)" in (ROOT / "README.md").read_text()
    assert (ROOT / "docs/page.png").stat().st_size < 200_000
