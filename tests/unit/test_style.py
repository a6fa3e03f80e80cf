"""The colours of the stylesheet, light and dark: readable, and a different one for eight workers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CSS = (Path(__file__).parents[2] / "app/static/style.css").read_text()
LIGHT, DARK = CSS.split("@media (prefers-color-scheme: dark)", 1)
SCHEMES = {"light": LIGHT, "dark": DARK}
LEAST_TEXT = 4.5  # WCAG 2.2, 1.4.3
LEAST_CONTROL = 3.0  # WCAG 2.2, 1.4.11: borders of fields, and bars


def colours(scheme: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", SCHEMES[scheme].split("data-colour")[0]))


def worker_colours(scheme: str) -> dict[str, str]:
    pattern = r'\[data-colour="(\d)"\] \{ --worker: (#[0-9a-f]{6}); \}'
    return dict(re.findall(pattern, SCHEMES[scheme]))


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it, 0 for black to 1 for white."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_wcags() -> None:
    """The measure used here gives 21 for black on white and 4.54 for the grey #767676."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_is_readable(scheme: str) -> None:
    """Text, links and messages have a contrast of 4.5 to 1 on what lies behind them."""
    of = colours(scheme)
    pairs = [(text, on) for text in ("ink", "muted", "accent") for on in ("page", "card")]
    pairs += [("bad", "card"), ("bad", "bad-note"), ("ink", "note"), ("on-accent", "accent")]
    too_low = [pair for pair in pairs if contrast(of[pair[0]], of[pair[1]]) < LEAST_TEXT]
    assert too_low == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_fields_are_visible(scheme: str) -> None:
    """The border of a field has a contrast of 3 to 1."""
    of = colours(scheme)
    assert contrast(of["control"], of["card"]) >= LEAST_CONTROL
    assert contrast(of["control"], of["page"]) >= LEAST_CONTROL


@pytest.mark.parametrize("scheme", SCHEMES)
def test_eight_workers(scheme: str) -> None:
    """Eight workers have eight colours; a tile's text is readable on each, and a bar visible."""
    workers, of = worker_colours(scheme), colours(scheme)
    assert len(set(workers.values())) == len(workers) == 8
    assert min(contrast(of["on-worker"], worker) for worker in workers.values()) >= LEAST_TEXT
    assert min(contrast(worker, of["page"]) for worker in workers.values()) >= LEAST_CONTROL


def test_script_knows_how_many_colours() -> None:
    """The script hands out exactly the colours that the stylesheet has."""
    script = (Path(__file__).parents[2] / "app/static/tiles.js").read_text()
    assert re.findall(r"const COLOURS = (\d+);", script) == [str(len(worker_colours("light")))]
