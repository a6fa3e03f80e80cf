"""`make user NAME=...`: add an account to USERS_FILE, give it a new password, or take it away."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from app.accounts import UsersFileError, hash_password, normalise, read_users
from app.audit import OPERATOR, Audit, operator
from deploy.native.options import Options
from deploy.native.passwords import check_password
from deploy.refused import Refused
from deploy.replace_file import replace_file


def set_user(
    given_name: str, options: Options, environ: Mapping[str, str], *, remove: bool = False
) -> tuple[Path, str]:
    """Ask for the password and write the line `name:hash`, or `remove` it; the other lines stay as they are.

    Returns the file, and the name of an account that may have sessions: empty for a new one.
    """
    path = Path(environ.get("USERS_FILE") or options.stack_dir / "users")
    name = normalise(given_name)
    if name is None:
        raise Refused(f"{given_name!r} cannot be a name: 1 to 64 printable characters")
    try:
        users = read_users(path) if path.exists() else {}
    except UsersFileError as error:
        raise Refused(str(error)) from None
    known = name if name in users else ""
    if remove and not known:
        raise Refused(f"{path} has no account {name}")
    if remove:
        del users[name]
    else:
        password = _password()
        check_password(password, name, (*options.https.names, *options.https.hosts))
        users[name] = hash_password(password)
    _write(path, users)
    done = "removed" if remove else "changed" if known else "added"
    event = "password_changed" if done == "changed" else f"account_{done}"
    Audit(options.stack_dir, OPERATOR).write(event, user=name, by=operator())
    print(f"{name}: {done} in {path}")
    return path, known


def _password() -> str:
    """From the terminal, twice and unseen; or the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("password: ")
    if getpass.getpass("again: ") != password:
        raise Refused("the passwords differ; nothing was changed")
    return password


def _write(path: Path, users: Mapping[str, str]) -> None:
    """In place: a container that has this one file mounted would not see another of its name.

    A copy is whole before, and goes when the file is: a crash between leaves one of the two.
    """
    content = "".join(f"{name}:{password_hash}\n" for name, password_hash in users.items()).encode()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        replace_file(path, content, mode=0o600)
        return
    draft = path.with_name(f".{path.name}.new")
    replace_file(draft, content, mode=0o600)
    with open(path, "r+b") as file:
        file.write(content)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
    draft.unlink()
