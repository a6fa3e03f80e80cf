"""The page of an experiment: for a phone, for the dark, and for those who hear it."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from lab.report import paragraphs, preformatted, table, write_report


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report with everything that one may have."""
    figure = Figure()
    parts = [
        *paragraphs(["FAIL"], bad=True),
        figure,
        table("Faults", ("fault", "failed"), [("<killed>", "1")]),
        preformatted("a < b"),
        figure,
    ]
    folder = tmp_path_factory.mktemp("report")
    return write_report(folder, "A & B", parts, {}, {"one": figure}).read_text()


def test_for_a_phone_and_the_dark(page: str) -> None:
    """It takes a screen's own width and its scheme of colours, and has one main landmark."""
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert "color-scheme: light dark" in page
    assert "@media (prefers-color-scheme: dark)" in page
    assert page.count("<main>") == page.count("</main>") == page.count("<h1>") == 1


def test_what_is_wide_scrolls_by_itself(page: str) -> None:
    """Tables, pictures and what was printed are each in a box that scrolls, which the keyboard reaches."""
    assert page.count("<table") == page.count('role="region" aria-label="Faults"><table>') == 1
    assert page.count("<svg") == page.count('<figure><div class="scroll" tabindex="0"') == 2
    assert page.count("<pre") == page.count('<pre tabindex="0">') == 1
    assert ".scroll, pre { overflow-x: auto; }" in page


def test_text_is_escaped(page: str) -> None:
    """What an experiment has found stays text."""
    assert "<td>&lt;killed&gt;</td>" in page
    assert "a &lt; b" in page
    assert "<title>A &amp; B</title>" in page


def test_nothing_from_elsewhere(page: str, tmp_path: Path) -> None:
    """The same figures give the same page, and the pictures of the run before are gone."""
    (tmp_path / "old.png").touch()
    twice = [write_report(tmp_path, "A", [Figure()], {}, {}).read_text() for _ in range(2)]
    assert twice[0] == twice[1]
    assert list(tmp_path.glob("*.png")) == []
