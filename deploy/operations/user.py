"""`make user NAME=ann`: change the account, say who reads the file, and end sessions that must not go on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deploy.native.options import read_environ, read_options
from deploy.native.users import set_user
from deploy.operations.end_sessions import end_sessions
from deploy.operations.find import find_stack
from deploy.operations.native import NativeStack
from deploy.refused import Refused


def change_user(name: str, environ: Mapping[str, str]) -> int:
    """The exit code; sessions of an account that was changed or removed end (ASVS 5.0 7.4.2, 7.4.3)."""
    environ = read_environ(environ)
    remove = environ.get("REMOVE") == "1"
    path, known = set_user(name, read_options(environ), environ, remove=remove)
    print(_who_reads(path, environ), flush=True)
    if not known:
        return 0
    try:
        return end_sessions(known, environ, "account" if remove else "password")
    except Refused:
        print("no stack runs here, so no session was ended")
        return 0


def _who_reads(path: Path, environ: Mapping[str, str]) -> str:
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
