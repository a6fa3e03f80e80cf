"""The one way a report is drawn: a page that needs no other file, the same for machines, and pictures."""

from __future__ import annotations

import html
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from deploy.paths import ROOT
from loadtest.report.svg import svg_element

DPI = 110
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem;
       color: #1b2330; background: #fff }
pre { overflow-x: auto; background: #f4f6f9; padding: 1rem; font-size: 13px }
svg { max-width: 100%; height: auto }
td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top }
.bad { color: #a51d18 }
"""
Part = str | Figure


def write_report(
    folder: Path,
    title: str,
    parts: Sequence[Part],
    content: Mapping[str, Any],
    pictures: Mapping[str, Figure],
) -> Path:
    """Leave report.html, report.json and NAME.png in `folder`; returns the page's path.

    `parts` are elements of HTML and pictures, in the order of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.png"):
        stale.unlink()
    for name, figure in pictures.items():
        figure.savefig(folder / f"{name}.png", dpi=DPI)
    (folder / "report.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    page = folder / "report.html"
    page.write_text(_page(title, parts), encoding="utf-8")
    return page


def write_picture(name: str, figure: Figure) -> None:
    """Draw the picture that docs/measurements.md shows."""
    figure.savefig(ROOT / f"docs/{name}.png", dpi=DPI)


def paragraphs(texts: Sequence[str], *, bad: bool = False) -> list[str]:
    """Each text as a paragraph; `bad` marks what a reader must not miss."""
    opened = '<p class="bad">' if bad else "<p>"
    return [f"{opened}{html.escape(text)}</p>" for text in texts]


def preformatted(text: str) -> str:
    """What was printed in the terminal."""
    return f"<pre>{html.escape(text)}</pre>"


def machine() -> str:
    """Where it was measured, in a sentence."""
    return (
        f"{os.cpu_count()} cores, shared by all processes of the measurement; load average"
        f" {os.getloadavg()[0]:.1f}; {platform.system()}, Python {platform.python_version()}."
    )


def _page(title: str, parts: Sequence[Part]) -> str:
    drawn = (svg_element(part) if isinstance(part, Figure) else part for part in parts)
    body = "\n".join([f"<h1>{html.escape(title)}</h1>", *drawn])
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'
