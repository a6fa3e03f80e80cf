"""`python -m deploy.native.worker …`: become `python -m …`, with the settings that were last applied.

Each start of a worker passes through here, so little more than the standard library is imported.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.paths import NGINX_SECRET


def main() -> None:
    """Replace this process."""
    stack_dir = Path(os.environ["STACK_DIR"])
    environ = with_changes(os.environ, read_applied(stack_dir))
    if not (environ.get("NGINX_SECRET") or environ.get("NGINX_SECRET_FILE")):
        environ["NGINX_SECRET_FILE"] = str(stack_dir / NGINX_SECRET)
    os.execve(sys.executable, [sys.executable, "-m", *sys.argv[1:]], environ)


def with_changes(environ: Mapping[str, str], values: Mapping[str, str | None]) -> dict[str, str]:
    """`environ` as the workers get it."""
    changed = {**environ, **values}
    return {name: value for name, value in changed.items() if value is not None}


def read_applied(stack_dir: Path) -> dict[str, str | None]:
    """What has been kept since `make run`: nothing at first."""
    path = applied_file(stack_dir)
    if not path.exists():
        return {}
    return dict(json.loads(path.read_text(encoding="utf-8")))


def applied_file(stack_dir: Path) -> Path:
    """Where they are kept; deploy/native/applied.py writes it."""
    return stack_dir / "supervisor/settings.json"


if __name__ == "__main__":
    main()
