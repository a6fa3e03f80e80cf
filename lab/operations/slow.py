"""Pages that take long, a worker that hangs, a flood of logins: none may cost anybody else a request.

The control is what this project once had: nginx gives a worker up after two seconds, and nobody replaces one.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from lab.client import Answer, Client
from lab.operations.cases import Moments, Operation, nothing_lost, only_posts_in_flight
from lab.operations.target import Target
from lab.operations.visitor import ANSWER_SECONDS, Result
from lab.visitors import FORM, at_once, login_form
from loadtest.load.answers import given_cookie

TIGHT = ("proxy_send_timeout 10s;", "proxy_send_timeout 10s; proxy_read_timeout 2s;")
# Of a password that nobody knows; other names cost as much, as a worker must not tell which names exist.
HASH = (
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA"
    "$WfmXHW3HmBHsPLGzCYm0FLpN5XQq9DCZ5fUQ2MrKZ0k"
)
THINK_SECONDS = 4.0  # at most, between two pages of one visitor
AT_ONCE = 16  # logins
KILLED_SECONDS = 2.0  # from the page's answer to the end of its worker, at most
FOLLOWS_SECONDS = 4.0  # what comes after a worker was replaced belongs to it


@dataclass(frozen=True)
class Size:
    """How much of each; times are in seconds."""

    pages: int
    page_seconds: float
    visitors: int
    attackers: int
    flood_seconds: float
    watchdog_seconds: float


FULL = Size(30, 8, 500, 130, 15, 20)
QUICK = Size(12, 4, 60, 130, 5, 5)


def settings(size: Size, folder: Path, *, watched: bool) -> dict[str, str]:
    """Of the stack: accounts, or checking a password costs nothing; and the watchdog's limit."""
    users = folder / "users"
    users.write_text(f"ann:{HASH}\n")
    users.chmod(0o644)  # a container's user reads it
    limit = f"{size.watchdog_seconds:g}" if watched else "0"
    return {"USERS_FILE": str(users), "WATCHDOG_SECONDS": limit}


def tighten(proxy_conf: Path) -> None:
    """The control's nginx: whatever a worker has not answered within two seconds goes to the next."""
    text = proxy_conf.read_text()
    assert TIGHT[0] in text
    proxy_conf.write_text(text.replace(*TIGHT))


def slow_operations(size: Size, *, heals: bool) -> list[Operation[Target]]:
    """`heals`: whether the stack replaces a worker that hangs; else that is done at the end of the row."""
    return [
        Operation(
            f"{size.pages} pages of {size.page_seconds:g} s among {size.visitors} visitors",
            _in_a_loop(lambda target, moments: _pages(target, moments, size)),
            nothing_lost,
        ),
        Operation(
            f"{size.attackers} connections try passwords for {size.flood_seconds:g} s",
            _in_a_loop(lambda target, moments: _flood(target, moments, size)),
            nothing_lost,
        ),
        Operation(
            "a worker in an endless loop",
            _hang(size, heals=heals),
            only_posts_in_flight,
            "POSTs sent to it",
        ),
    ]


async def _pages(target: Target, moments: Moments, size: Size) -> None:
    """Each slow page in a session of its own, whose version tells how often the page has run."""
    over = asyncio.Event()
    visitors = [Guest(target.url, moments) for _ in range(size.visitors)]
    slow = [Guest(target.url, moments) for _ in range(size.pages)]
    await at_once(AT_ONCE, Guest.log_in, [*visitors, *slow])
    browsing = [asyncio.create_task(visitor.browse(over)) for visitor in visitors]
    await asyncio.gather(*(guest.slow_page(size.page_seconds) for guest in slow))
    await asyncio.sleep(size.page_seconds)  # a second run would end now
    over.set()
    await asyncio.gather(*browsing)
    await at_once(AT_ONCE, Guest.expect_one_run, slow)
    for guest in [*visitors, *slow]:
        guest.close()


async def _flood(target: Target, moments: Moments, size: Size) -> None:
    deadline = time.monotonic() + size.flood_seconds
    attackers = [Guest(target.url, moments) for _ in range(size.attackers)]
    await asyncio.gather(*(attacker.try_passwords(deadline) for attacker in attackers))
    for attacker in attackers:
        attacker.close()


def _hang(size: Size, *, heals: bool) -> Callable[[Target, Moments], None]:
    async def hang(target: Target) -> None:
        guest = Guest(target.url, Moments())
        await guest.log_in()
        await guest.ask("GET", "/slow?kind=hang", lambda answer: True)
        guest.close()

    def run(target: Target, moments: Moments) -> None:
        moments.began = time.monotonic()
        asyncio.run(hang(target))
        moments.ended = time.monotonic() + KILLED_SECONDS
        if not heals:
            for port in target.workers():
                target.send_signal(port, "KILL")
        time.sleep(FOLLOWS_SECONDS)

    return run


class Guest:
    """A browser; what it is answered is noted among the operation's results."""

    def __init__(self, url: str, moments: Moments) -> None:
        self._client = Client(url, ANSWER_SECONDS, idle=1)
        self._moments = moments
        self._cookie = ""
        self._random = Random(secrets.randbits(64))

    async def log_in(self) -> None:
        name = f"guest-{secrets.token_hex(4)}"
        form = login_form(name, "demo")
        answer = await self.ask("POST", "/login", lambda answer: answer.status == 302, form)
        self._cookie = given_cookie(answer.headers) if answer else ""

    async def browse(self, over: asyncio.Event) -> None:
        """Load the main page now and then."""
        while not over.is_set():
            await asyncio.sleep(self._random.uniform(0, THINK_SECONDS))
            await self.ask("GET", "/", lambda answer: answer.status == 200)

    async def slow_page(self, seconds: float) -> None:
        path = f"/slow?ms={seconds * 1000:.0f}&write=runs"
        await self.ask("GET", path, lambda answer: answer.status == 200)

    async def expect_one_run(self) -> None:
        """A login gives version 1, and each run of the slow page raises it by one."""
        await self.ask("GET", "/api/session", lambda answer: b'"version":2,' in answer.body)

    async def try_passwords(self, deadline: float) -> None:
        """Each under another name; refused as wrong, or told to come back, and in no other way."""
        while time.monotonic() < deadline:
            form = login_form(f"name-{secrets.token_hex(8)}", "wrong")
            await self.ask("POST", "/login", _is_a_proper_refusal, form)

    async def ask(
        self,
        method: str,
        path: str,
        good: Callable[[Answer], bool],
        form: bytes = b"",
    ) -> Answer | None:
        began = time.monotonic()
        headers = {"Cookie": self._cookie} if self._cookie else {}
        answer: Answer | None = None
        try:
            headers |= FORM if form else {}
            answer = await self._client.request(method, path, headers, form)
            failure = "" if good(answer) else str(answer.status)
        except OSError as error:
            failure = type(error).__name__
        self._moments.also.append(Result(began, time.monotonic(), method, failure))
        return answer

    def close(self) -> None:
        self._client.close()


def _is_a_proper_refusal(answer: Answer) -> bool:
    return answer.status == 401 or (answer.status == 503 and "Retry-After" in answer.headers)


def _in_a_loop(
    work: Callable[[Target, Moments], Coroutine[Any, Any, None]],
) -> Callable[[Target, Moments], None]:
    return lambda target, moments: asyncio.run(work(target, moments))
