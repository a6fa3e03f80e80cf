"""The engine's Lua scripts, each with the prelude that says once what a session is in Redis."""

from __future__ import annotations

from pathlib import Path

from .wire.calls import Script

_FOLDER = Path(__file__).parent / "scripts"
_PRELUDE = "prelude"
# What a visitor relies on once it is answered: where replicas are to acknowledge writes, they have these.
_ACKNOWLEDGED = {"create", "destroy", "increment", "pop", "renew", "save"}


def _script(path: Path) -> Script:
    flags, _, body = path.read_text().partition("\n")  # `#!lua flags=…` has to stay the first line
    text = "\n".join((flags, (_FOLDER / f"{_PRELUDE}.lua").read_text(), body))
    return Script.of(text, acknowledged=path.stem in _ACKNOWLEDGED)


SCRIPTS = {path.stem: _script(path) for path in _FOLDER.glob("*.lua") if path.stem != _PRELUDE}
# What a worker runs; the rest is for administrators, who may SCAN.
WORKERS = [script for name, script in SCRIPTS.items() if name != "everybody"]
