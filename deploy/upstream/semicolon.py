"""Where a `;` is missing: nginx names a later line, since it reads on until it finds one."""

from __future__ import annotations

import re

DIRECTIVE = re.compile(r"[a-z_]+(\s|;|$)|}")
PARAMETER = re.compile(r"(?:down|drain|backup|resolve)\b")  # words that begin no directive


def line_without_semicolon(text: str) -> int | None:
    """The first line that ends without `;` and is followed by a new directive; None when there is none."""
    before = 0
    for number, line in enumerate(text.split("\n"), start=1):
        code = line.partition("#")[0].strip()
        if not code:
            continue
        if before and DIRECTIVE.match(code) and not PARAMETER.match(code):
            return before
        before = 0 if code[-1] in ";{}" else number
    return None
