"""Whether the running stack reads a users file, and what it takes where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deploy.operations.find import find_stack
from deploy.operations.native import NativeStack
from deploy.refused import Refused


def who_reads(path: Path, environ: Mapping[str, str]) -> str:
    """One sentence for whoever has just written to it."""
    try:
        stack = find_stack(environ)
    except Refused as error:
        return str(error)
    if stack is None:
        return f"no stack runs: `make run` reads it; for Docker {_in_docker(path)}"
    if stack.reads_users(path):
        return f"{stack.name} reads this file: the change applies from the next login"
    needed = _in_docker(path)
    if isinstance(stack, NativeStack):
        needed = f"write USERS_FILE={path} into .env, then `make stop` and `make run`"
    return f"{stack.name} does not read it: {needed}"


def _in_docker(path: Path) -> str:
    """Its user has another number than whoever made the file, and must be able to read it."""
    return (
        f"`chmod 644 {path}`, write USERS_FILE={path} into .env, then `docker compose up --detach`"
    )
