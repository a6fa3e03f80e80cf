"""What a native stack is made of, in one line for reports."""

from __future__ import annotations

import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

from deploy.native import binaries
from deploy.native.options import Options
from deploy.native.store import has_own_redis


def versions(options: Options) -> str:
    """Names and versions, such as `Tornado 6.6.1, nginx 1.31.3, Valkey 9.1.2, Python 3.11.7`."""
    redis = _said(binaries.redis(), "--version") if has_own_redis(options) else "a Redis elsewhere"
    parts = [
        f"Tornado {version('tornado')}",
        _said(binaries.nginx(options.nginx_program), "-v"),
        redis,
    ]
    return ", ".join([*parts, f"Python {platform.python_version()}"])


def _said(binary: Path, option: str) -> str:
    """`NAME VERSION` from what a server says of itself: nginx/1.31.3, Valkey server v=9.1.2 ..."""
    result = subprocess.run([binary, option], capture_output=True, text=True, check=True)
    found = re.search(r"(\w+)(?: server v=|/)([\d.]+)", result.stdout + result.stderr)
    return f"{found[1]} {found[2]}" if found else binary.name
