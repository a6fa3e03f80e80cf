"""The secret by which a worker knows requests of nginx: given, or made once and kept in a file."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from deploy.refused import Refused
from deploy.replace_file import replace_file

# As app/settings.py has it; nothing that means something to nginx.
FORM = re.compile(r"[A-Za-z0-9_-]{32,128}")


def read_nginx_secret(environ: Mapping[str, str]) -> str:
    """NGINX_SECRET, or what is in NGINX_SECRET_FILE; empty without either. Refused does not repeat it."""
    value, path = environ.get("NGINX_SECRET", ""), environ.get("NGINX_SECRET_FILE")
    if path and not value:
        try:
            value = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise Refused(f"NGINX_SECRET_FILE={path} cannot be read") from None
    if value and not FORM.fullmatch(value):
        raise Refused("NGINX_SECRET must be 32 to 128 letters, digits, - and _")
    return value


def kept_nginx_secret(path: Path) -> str:
    """The one in `path`, which gets a new one, for its owner alone, where there is none."""
    if not path.exists():
        replace_file(path, secrets.token_urlsafe(32) + "\n", mode=0o600)
    return read_nginx_secret({"NGINX_SECRET_FILE": str(path)})
