"""Who may log in: names, passwords, and the one question `verify(name, password)`.

To ask a database or another service, write a subclass with another `hash_of`, or another `verify` where
hashes are not to be had; docs/make-it-yours.md has one.  Nothing else knows how a password is checked.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import secrets
import sys
import threading
import unicodedata
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

MAX_NAME_CHARACTERS = 64
MAX_PASSWORD_CHARACTERS = 1024  # far above any passphrase; keeps a hostile form cheap

# Argon2 fills memory and a core while it runs.  Two checks at a time: eight workers then need
# 8 * 2 * 19 MiB at worst.
THREADS = 2
# Of these threads, where the system can tell threads apart.  A core that both want goes to the thread that
# answers requests nine times out of ten, so a flood of logins makes logins slow, and little else.
NICENESS = 10
MAX_WAITING = 32
# Whoever could not be checked within this long is told to come back, at once where that can be foreseen: on a
# busy machine a check may take a second, and a queue that is short by number is long by time.
START_SECONDS = 3.0
FIRST_GUESS_SECONDS = 0.05  # what a check takes, until some have been measured
LATEST_SHARE = 0.3  # of the newest measurement in the mean

# OWASP's password storage cheat sheet, its first choice for argon2id: 19 MiB, two passes, one lane.
COST = (2, 19 * 1024, 1)  # passes, KiB, lanes
_HASHER = PasswordHasher(*COST)


log = logging.getLogger("app")


class UsersFileError(Exception):
    """The file of users cannot be used; the text names the file, the line and what is wrong."""


class AccountsBusy(Exception):
    """More logins are waiting than will be checked soon: answer 503 and let the browser come back."""


class Accounts:
    """The people who may log in.

    `users` maps a normalised name to its argon2id hash; `look`, when given, is asked at each login
    what they are now.  `demo_password`, when given, lets any name in: it is for trying the project out,
    and production settings refuse it.
    """

    def __init__(
        self,
        users: Mapping[str, str],
        demo_password: str | None,
        look: Callable[[], Mapping[str, str]] | None = None,
    ) -> None:
        fixed = dict(users)
        self._users = look or (lambda: fixed)
        self.only_demo = not users  # so far; a subclass that knows others sets it to False
        self._demo = None if demo_password is None else _password_bytes(demo_password)
        self._threads = ThreadPoolExecutor(
            THREADS, thread_name_prefix="password", initializer=_step_back
        )
        self._waiting = 0  # or being checked
        self._free = asyncio.Semaphore(THREADS)
        self._check_seconds = FIRST_GUESS_SECONDS
        # An unknown name is checked against this hash of nothing anybody knows, so that the time
        # an answer takes does not tell which names exist.
        self._dummy = hash_password(secrets.token_urlsafe(32))

    @property
    def waiting(self) -> int:
        """How many passwords are being checked, or wait for it."""
        return self._waiting

    async def verify(self, name: str, password: str) -> bool:
        """Whether `password` is the right one for `name`, as `normalise` returned it.

        Unknown name and wrong password look the same and take about the same time.  The check runs
        in a thread, so the worker goes on serving.  Raises AccountsBusy when too many are waiting, or
        when it could not begin within three seconds.
        """
        if len(password) > MAX_PASSWORD_CHARACTERS:
            return False
        given = _password_bytes(password)
        if self._demo is not None and hmac.compare_digest(given, self._demo):
            return True
        if self.only_demo and not self._users():  # there is no name whose existence could leak
            return False
        stored = await self.hash_of(name)
        right = await self._in_thread(stored or self._dummy, given)
        return right and stored is not None

    async def hash_of(self, name: str) -> str | None:
        """The argon2id hash of a user, None for a name that nobody has.  A subclass may ask a database."""
        return self._users().get(name)

    async def _in_thread(self, password_hash: str, password: bytes) -> bool:
        ahead = max(0, self._waiting - THREADS + 1)  # checks that end before this one begins
        if self._waiting >= MAX_WAITING or ahead / THREADS * self._check_seconds > START_SECONDS:
            raise AccountsBusy
        self._waiting += 1
        try:
            await self._turn()
            loop = asyncio.get_running_loop()
            check = loop.run_in_executor(self._threads, _matches, password_hash, password)
            # Its thread is free again when the check ends: not when a browser gives up.
            check.add_done_callback(partial(self._note_end, loop.time()))
            return await asyncio.shield(check)
        finally:
            self._waiting -= 1

    async def _turn(self) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise AccountsBusy from None

    def _note_end(self, began: float, check: asyncio.Future[bool]) -> None:
        self._free.release()
        took = asyncio.get_running_loop().time() - began
        self._check_seconds += LATEST_SHARE * (took - self._check_seconds)


class UsersFile:
    """The users in a file, read again once it has changed: `make user` needs no restart.

    A file that cannot be used any more is an error in the log, and the users stay who they were.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _stamp(path)
        self.users = read_users(path)

    def look(self) -> Mapping[str, str]:
        """The users of now; costs one look at the file's date."""
        stamp = _stamp(self._path)
        if stamp != self._seen:
            self._seen = stamp
            try:
                self.users = read_users(self._path)
            except UsersFileError as error:
                log.error("USERS_FILE: %s; the users stay who they were", error)
        return self.users


def normalise(name: str) -> str | None:
    """`name` as it is stored and shown, or None when it cannot be a name.

    Spaces around it are dropped and composed characters made one (NFC), so that the same name typed
    on two keyboards is the same user.  One to 64 printable characters: no line breaks, no control
    or invisible characters that would make two different names look alike in a log.
    """
    name = unicodedata.normalize("NFC", name).strip()
    usable = 1 <= len(name) <= MAX_NAME_CHARACTERS and name.isprintable()
    return name if usable else None


def hash_password(password: str) -> str:
    """The argon2id hash to store for `password`; a new salt each time."""
    return _HASHER.hash(_password_bytes(password))


def read_users(path: Path) -> dict[str, str]:
    """The users in `path`, one `name:hash` a line; blank lines are ignored.

    Raises UsersFileError at the first line that would otherwise lock somebody out in silence.
    """
    users: dict[str, str] = {}
    for number, line in enumerate(_text_of(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            name, password_hash = _parse_user(line)
            if name in users:
                raise ValueError(f"{name!r} is here for the second time")
        except ValueError as error:
            raise UsersFileError(f"{path}, line {number}: {error}") from error
        users[name] = password_hash
    return users


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes with the file; None when it is gone."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsersFileError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsersFileError(f"{path} is not UTF-8 text (byte {error.start})") from error


def _parse_user(line: str) -> tuple[str, str]:
    """The name and hash in `line`; ValueError says what is wrong, and never repeats the hash."""
    name, colon, password_hash = line.rpartition(":")  # a hash has no colon, a name may have one
    if not colon:
        raise ValueError("expected name:hash, found no colon")
    if normalise(name) != name:
        raise ValueError(
            f"{name!r} cannot be a name: 1 to {MAX_NAME_CHARACTERS} printable characters, "
            "no space at either end"
        )
    password_hash = password_hash.strip()
    try:
        found = extract_parameters(password_hash)
    except InvalidHashError as error:
        raise ValueError(f"what follows {name!r}: is not an argon2 hash") from error
    if not password_hash.startswith("$argon2id$"):
        raise ValueError(f"the hash of {name!r} is not argon2id")
    if (found.time_cost, found.memory_cost, found.parallelism) != COST:
        # Checked in another time than an unknown name, it would tell that the name exists.
        remedy = f"give it a new password (make user NAME={name})"
        raise ValueError(f"the hash of {name!r} has another cost than this version uses: {remedy}")
    return name, password_hash


def _step_back() -> None:
    """In a thread that checks passwords: let the others go first.  Linux only, where each has its own."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        # Not from 0: the worker may have been started with `nice`.
        now = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(now + NICENESS, 19))


def _matches(password_hash: str, password: bytes) -> bool:
    try:
        return _HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):  # a damaged hash lets nobody in
        return False


def _password_bytes(password: str) -> bytes:
    """The bytes that are hashed: NFC, so that an accent typed on another keyboard still fits."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
