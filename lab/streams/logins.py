"""The sessions that streams belong to: logged in before, logged out after."""

import asyncio
import time
from collections.abc import Sequence
from urllib.parse import urlencode

from lab.client import Client, cookie_of
from lab.policies.crowd import FORM
from lab.refusals import LoginFailed

AT_ONCE = 8


async def log_in(client: Client, password: str, count: int) -> list[str]:
    """The cookies of so many new sessions, each of a user of its own.  LoginFailed says why not."""
    suffix = f"{time.time_ns():x}"
    names = [f"longconn-{suffix}-{number}" for number in range(count)]
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> str:
        async with slots:
            return await _log_in(client, name, password)

    return list(await asyncio.gather(*(one(name) for name in names)))


async def log_out(client: Client, cookies: Sequence[str]) -> None:
    """End these sessions; what cannot be ended has ended."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(cookie: str) -> None:
        async with slots:
            await client.request("POST", "/logout", {"Cookie": cookie})

    await asyncio.gather(*(one(cookie) for cookie in cookies), return_exceptions=True)


async def _log_in(client: Client, name: str, password: str) -> str:
    form = urlencode({"username": name, "password": password, "next": "/"})
    answer = await client.request("POST", "/login", FORM, form.encode())
    cookie = cookie_of(answer)
    if answer.status not in (302, 303) or not cookie:
        raise LoginFailed(f"a login was answered with status {answer.status}")
    return cookie
