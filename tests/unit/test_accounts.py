"""Who may log in: names, the users file, and password checks that do not stop the worker."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest

from app import accounts, visitor
from app.accounts import (
    Accounts,
    AccountsBusy,
    UsersFileError,
    hash_password,
    normalise,
    read_users,
)

HASH = hash_password("correct horse")


@pytest.fixture
def people() -> Accounts:
    """Ann with a password of her own, and no demo login."""
    return Accounts({"ann": HASH}, demo_password=None)


@pytest.fixture
def demo() -> Accounts:
    """No users at all; any name enters with the demo password."""
    return Accounts({}, demo_password="démo")


async def test_right_password(people: Accounts) -> None:
    """A user's own password is accepted."""
    assert await people.verify("ann", "correct horse")


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ann", "wrong"),
        ("ann", ""),
        ("Ann", "correct horse"),
        ("bob", "correct horse"),
        ("ann", "correct horse" + "x" * accounts.MAX_PASSWORD_CHARACTERS),
        ("ann", "\ud800"),
    ],
)
async def test_refused(people: Accounts, name: str, password: str) -> None:
    """A wrong, empty, oversized or malformed password is refused, and so is an unknown name."""
    assert not await people.verify(name, password)


async def test_no_users_no_demo() -> None:
    """Without users and without a demo password nobody gets in."""
    nobody = Accounts({}, demo_password=None)
    assert not await nobody.verify("ann", "")


async def test_demo_password_opens_any_name(demo: Accounts) -> None:
    """The demo password lets any name in, accents included; another password does not."""
    assert await demo.verify("anybody", "démo")
    assert not await demo.verify("anybody", "demo")


async def test_same_accent_from_two_keyboards(demo: Accounts) -> None:
    """A password typed with a separate accent is the same password."""
    assert await demo.verify("ann", "de\u0301mo")


async def test_dummy_password_is_no_back_door(
    people: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown name is refused even by a check that says its password fits."""
    monkeypatch.setattr(accounts, "_matches", lambda *_: True)
    assert not await people.verify("bob", "whatever")


async def test_unknown_name_costs_a_check_too(
    people: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown name is checked against a real argon2id hash of the same cost as a user's."""
    seen: list[str] = []
    monkeypatch.setattr(accounts, "_matches", lambda stored, _: bool(seen.append(stored)))
    await people.verify("ann", "x")
    await people.verify("bob", "x")
    costs = [stored.split("$")[1:4] for stored in seen]
    assert seen[0] != seen[1]
    assert costs[0] == costs[1] == ["argon2id", "v=19", "m=19456,t=2,p=1"]


async def test_event_loop_goes_on_during_a_check(
    people: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a password is checked the worker's event loop runs."""
    monkeypatch.setattr(accounts, "_matches", lambda *_: bool(time.sleep(0.2)))
    check = asyncio.create_task(people.verify("ann", "x"))
    turns = 0
    while not check.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 10


async def test_checks_step_back(people: Accounts) -> None:
    """The threads that check passwords give way to the one that answers requests."""

    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    loop = asyncio.get_running_loop()
    checking = await loop.run_in_executor(people._threads, niceness)

    assert checking >= min(niceness() + accounts.NICENESS, 19)


async def test_waiting_checks_are_bounded(
    people: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood is refused beyond the bound, the rest is answered, and the next login works."""
    monkeypatch.setattr(accounts, "MAX_WAITING", 4)
    flood = [people.verify("ann", "correct horse") for _ in range(10)]
    answers = await asyncio.gather(*flood, return_exceptions=True)
    assert [type(answer) for answer in answers] == [bool] * 4 + [AccountsBusy] * 6
    assert await people.verify("ann", "correct horse")


async def test_waiting_checks_are_bounded_by_time(
    people: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine where a check takes long, whoever could not begin in time is refused in that time."""
    monkeypatch.setattr(accounts, "START_SECONDS", 0.5)
    monkeypatch.setattr(accounts, "_matches", lambda *_: not time.sleep(2))
    flood = [asyncio.create_task(people.verify("ann", "x")) for _ in range(20)]
    refused = await asyncio.gather(*flood[2:], return_exceptions=True)
    assert {type(answer) for answer in refused} == {AccountsBusy}
    assert not any(check.done() for check in flood[:2])
    assert await asyncio.gather(*flood[:2]) == [True, True]


async def test_what_cannot_begin_in_time_is_refused_at_once(
    people: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a check has taken 2.4 s, nobody waits for one that would begin after 3.6 s."""
    monkeypatch.setattr(accounts, "_matches", lambda *_: not time.sleep(0.2))
    people._check_seconds = 2.4
    under_way = [asyncio.create_task(people.verify("ann", "x")) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(AccountsBusy):
        await people.verify("ann", "x")
    assert not any(check.done() for check in under_way)
    assert await asyncio.gather(*under_way) == [True] * 4


async def test_a_flood_needs_the_bounds(people: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them the last of many waits for all others, and nobody is refused: the tests above can fail."""
    for bound in ("START_SECONDS", "MAX_WAITING"):
        monkeypatch.setattr(accounts, bound, 1000)
    monkeypatch.setattr(accounts, "_matches", lambda *_: not time.sleep(0.02))
    began = time.monotonic()
    assert await asyncio.gather(*(people.verify("ann", "x") for _ in range(20))) == [True] * 20
    assert time.monotonic() - began >= 20 / accounts.THREADS * 0.02


async def test_a_login_given_up_frees_its_place(
    people: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check whose browser went away no longer counts as waiting."""
    monkeypatch.setattr(accounts, "MAX_WAITING", 1)
    check = asyncio.create_task(people.verify("ann", "x"))
    await asyncio.sleep(0)
    check.cancel()
    await asyncio.gather(check, return_exceptions=True)
    assert await people.verify("ann", "correct horse")


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("ann", "ann"),
        ("  Ann Lee ", "Ann Lee"),
        ("Zoe\u0308", "Zo\u00eb"),
        ("李雷", "李雷"),
        ("a:b", "a:b"),
        ("x" * 64, "x" * 64),
    ],
)
def test_names_kept(typed: str, kept: str) -> None:
    """A printable name of 1 to 64 characters is kept, trimmed and composed."""
    assert normalise(typed) == kept


@pytest.mark.parametrize(
    "typed", ["", "   ", "x" * 65, "a\nb", "a\x00b", "a\u200bb", "a\u202eb", "\ud800", "a\x85b"]
)
def test_names_refused(typed: str) -> None:
    """Empty, overlong, control and invisible characters are no name."""
    assert normalise(typed) is None


def test_the_name_of_make_status() -> None:
    """Nobody can have the name under which `make status` makes itself a session."""
    assert normalise(visitor.NAME) != visitor.NAME


def test_hashes_are_salted_argon2id() -> None:
    """Two hashes of one password differ, and both say argon2id."""
    assert hash_password("x") != hash_password("x")
    assert hash_password("x").startswith("$argon2id$")


def test_users_file(tmp_path: Path) -> None:
    """One user a line; blank lines, CRLF and a colon in a name are fine."""
    path = tmp_path / "users"
    path.write_bytes(f"ann:{HASH}\r\n\n  \na:b:{HASH}\n".encode())
    assert read_users(path) == {"ann": HASH, "a:b": HASH}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("ann", "no colon"),
        ("ann:", "'ann': is not an argon2 hash"),
        ("ann:secret", "'ann': is not an argon2 hash"),
        (f"ann:{HASH[:-60]}", "'ann': is not an argon2 hash"),
        (f"ann:{HASH.replace('argon2id', 'argon2i')}", "not argon2id"),
        (f"ann:{HASH.replace('t=2', 't=3')}", "another cost"),
        (f"ann:{HASH.replace('m=19456', 'm=65536')}", "another cost"),
        (f":{HASH}", "cannot be a name"),
        (f" ann:{HASH}", "cannot be a name"),
        (f"bob:{HASH}", "second time"),
    ],
    ids=[
        "bare name",
        "empty",
        "plain",
        "cut short",
        "argon2i",
        "slower",
        "larger",
        "no name",
        "blank before",
        "twice",
    ],
)
def test_bad_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    """A bad line stops the start with the file, the line number and the reason, not the hash."""
    path = tmp_path / "users"
    path.write_text(f"bob:{HASH}\n\n{line}\n")
    with pytest.raises(UsersFileError, match=complaint) as caught:
        read_users(path)
    assert str(caught.value).startswith(f"{path}, line 3: ")
    assert "secret" not in str(caught.value)


def test_missing_users_file(tmp_path: Path) -> None:
    """A users file that is not there is named."""
    with pytest.raises(UsersFileError, match=r"users cannot be read: No such file"):
        read_users(tmp_path / "users")


def test_users_file_in_another_encoding(tmp_path: Path) -> None:
    """A users file that is not UTF-8 is refused with its name."""
    path = tmp_path / "users"
    path.write_bytes(b"zo\xeb:x\n")
    with pytest.raises(UsersFileError, match="users is not UTF-8"):
        read_users(path)
