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
from lab.table import Row
from loadtest.report.page import STYLE
from loadtest.report.pictures import as_svg

DPI = 110
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""
BOX = '<div class="scroll" tabindex="0" role="region" aria-label="{label}">{content}</div>'
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
    return f'<pre tabindex="0">{html.escape(text)}</pre>'


def table(label: str, header: Row, rows: Sequence[Row]) -> str:
    """A table under a label for those who cannot see it."""
    lines = [("th", header), *(("td", row) for row in rows)]
    cells = ("".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in line) for tag, line in lines)
    inside = "".join(f"<tr>{line}</tr>" for line in cells)
    return BOX.format(label=html.escape(label), content=f"<table>{inside}</table>")


def machine() -> str:
    """Where it was measured, in a sentence."""
    return (
        f"{os.cpu_count()} cores, shared by all processes of the measurement; load average"
        f" {os.getloadavg()[0]:.1f}; {platform.system()}, Python {platform.python_version()}."
    )


def _page(title: str, parts: Sequence[Part]) -> str:
    drawn = (_figure(part, n) if isinstance(part, Figure) else part for n, part in enumerate(parts))
    return PAGE.format(title=html.escape(title), style=STYLE, content="\n".join(drawn))


def _figure(figure: Figure, number: int) -> str:
    label = f"Picture, part {number} of this page"
    return f"<figure>{BOX.format(label=label, content=as_svg(figure))}</figure>"
