"""docs/measurements.md: each measuring command owns one block of it, and writes it with WRITE=1."""

from __future__ import annotations

import re
from pathlib import Path

from deploy.paths import ROOT
from deploy.replace_file import replace_file

DOCUMENT = ROOT / "docs/measurements.md"


def write_block(name: str, text: str, document: Path = DOCUMENT) -> None:
    """Replace what stands between the comments `name` and `/name`; nothing else changes.

    ValueError: the document has no such place, or several; it is left as it was.
    """
    place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    new, count = place.subn(lambda match: f"{match[1]}{text}\n{match[2]}", document.read_text())
    if count != 1:
        raise ValueError(f"{document.name} has {count} places called {name}")
    replace_file(document, new)
