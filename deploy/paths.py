"""Where this project lies, and how its files are named to the user."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
# In STACK_DIR: what deploy/native/nginx.py writes, unless a secret is given.
NGINX_SECRET = "nginx-secret"


def shown(path: Path) -> str:
    """`path` as the user knows it: from the project's folder when it is inside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
