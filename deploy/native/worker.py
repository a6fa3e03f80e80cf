"""`python -m deploy.native.worker …`: become `python -m …`, with the settings that were last applied."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Only the standard library: each start of a worker passes through here."""
    path = Path(os.environ["STACK_DIR"]) / "supervisor/settings.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    environ = {name: value for name, value in {**os.environ, **kept}.items() if value is not None}
    os.execve(sys.executable, [sys.executable, "-m", *sys.argv[1:]], environ)


if __name__ == "__main__":
    main()
