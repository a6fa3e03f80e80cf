"""The engine's Lua scripts, each with the prelude that says once what a session is in Redis."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .wire.calls import Script

_FOLDER = Path(__file__).parent / "scripts"
_PRELUDE = "prelude"


def _script(path: Path) -> Script:
    flags, _, body = path.read_text().partition("\n")  # `#!lua flags=…` has to stay the first line
    text = "\n".join((flags, (_FOLDER / f"{_PRELUDE}.lua").read_text(), body))
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


SCRIPTS = {path.stem: _script(path) for path in _FOLDER.glob("*.lua") if path.stem != _PRELUDE}
