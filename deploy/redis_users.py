"""The users of the stack's own Redis: deploy/redis/users.acl, filled in."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

from deploy.paths import ROOT

TEMPLATE = ROOT / "deploy/redis/users.acl"


def password(folder: Path, user: str) -> str:
    """The password of a user, the same for as long as the secret in `folder` stays; made on first use."""
    path = folder / "redis-secret"
    try:
        # O_EXCL: of two processes that begin at once, one makes it, and the other reads it.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        pass
    return hmac.new(path.read_bytes(), user.encode(), "sha256").hexdigest()


def write_users(path: Path, prefix: str, folder: Path) -> None:
    """The file for `--aclfile`: keys and channels begin with `prefix`, passwords come from `folder`."""
    lines = [line for line in TEMPLATE.read_text().splitlines() if line.startswith("user ")]
    filled = [line.replace("PREFIX", prefix).replace("PASSWORD", password(folder, line.split()[1])) for line in lines]  # fmt: skip
    path.touch(mode=0o600)
    path.write_text("\n".join([*filled, ""]))
