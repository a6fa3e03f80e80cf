"""Visitors of an experiment: each has one session, and all that it is answered is recorded and checked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode

from lab.client import Answer, Client
from loadtest.check.op import Kind, Op, Outcome
from loadtest.load.answers import fingerprint, given_cookie, read_answer, read_cookie, read_error
from loadtest.load.recorder import Recorder

AT_ONCE = 8  # logins and logouts under way
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
Item = TypeVar("Item")
Result = TypeVar("Result")


class LoginFailed(Exception):
    """A user could not log in; the message says what the stack answered."""


@dataclass(slots=True)
class Visitor:
    """One session; `session` is its label in the record."""

    user: str
    session: str
    cookie: str
    visits: int = 0  # raises of its counter begun so far


@dataclass(frozen=True, slots=True)
class Request:
    """What a visitor may ask for."""

    kind: Kind
    method: str
    target: str


READ = Request(Kind.READ, "GET", "/api/session")
VISIT = Request(Kind.VISIT, "POST", "/api/visits")
LOGOUT = Request(Kind.LOGOUT, "POST", "/logout")


def login_form(user: str, password: str) -> bytes:
    """The body of a login."""
    return urlencode({"username": user, "password": password, "next": "/"}).encode()


async def at_once(
    count: int, do: Callable[[Item], Awaitable[Result]], items: Iterable[Item]
) -> list[Result]:
    """Do it with all of them, so many at a time; what came of each, in their order."""
    slots = asyncio.Semaphore(count)

    async def one(item: Item) -> Result:
        async with slots:
            return await do(item)

    return list(await asyncio.gather(*map(one, items)))


class Visitors:
    """Logs visitors in and out, sends their requests, and records each."""

    def __init__(self, recorder: Recorder, password: str) -> None:
        self.recorder = recorder
        self._password = password

    async def log_in(self, client: Client, users: Iterable[str]) -> list[Visitor]:
        """A session for each user.  LoginFailed says why one got none."""
        return await at_once(AT_ONCE, lambda user: self._log_in(client, user), users)

    async def log_out(self, client: Client, visitors: Iterable[Visitor]) -> None:
        """End these sessions; one that cannot be ended is recorded as such."""
        await at_once(AT_ONCE, lambda visitor: self.ask(client, visitor, LOGOUT), visitors)

    async def ask(
        self,
        client: Client,
        visitor: Visitor,
        request: Request,
        due: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Op:
        """Send one request once: `begin`, `send`, and the end of its record."""
        op = self.begin(visitor, request, due)
        try:
            await self.send(client, visitor, request, op, headers)
        finally:
            self.recorder.complete(op)
        return op

    def begin(self, visitor: Visitor, request: Request, due: int | None = None) -> Op:
        """Record that a request begins; `due` is its moment in ns where that is another than now."""
        name = None
        if request.kind is Kind.VISIT:
            visitor.visits += 1
            name = f"{visitor.session}-{visitor.visits}"
        return self.recorder.invoke(request.kind, visitor.session, visitor.user, due, op=name)

    async def send(
        self,
        client: Client,
        visitor: Visitor,
        request: Request,
        op: Op,
        headers: Mapping[str, str] | None = None,
    ) -> Answer | OSError:
        """Send, and read into `op` what came; it stays open, so that it may be sent again."""
        given = {"Cookie": visitor.cookie, **(headers or {}), **(JSON if op.op else {})}
        body = f'{{"op":"{op.op}"}}'.encode() if op.op else b""
        answer = await self._send(client, request, op, given, body)
        if not isinstance(answer, OSError):
            name = visitor.cookie.partition("=")[0]
            visitor.cookie = read_cookie(op, answer.headers, name) or visitor.cookie
        return answer

    async def _log_in(self, client: Client, user: str) -> Visitor:
        op = self.recorder.invoke(Kind.LOGIN, self.recorder.new_session(), user)
        form = login_form(user, self._password)
        try:
            answer = await self._send(client, Request(Kind.LOGIN, "POST", "/login"), op, FORM, form)
            cookie = "" if isinstance(answer, OSError) else given_cookie(answer.headers)
            op.cookie = fingerprint(cookie) if cookie else None
        finally:
            self.recorder.complete(op)
        if op.outcome is not Outcome.OK or not cookie:
            raise LoginFailed(f"a login was answered with status {op.status}: {op.why}")
        return Visitor(user, op.session, cookie)

    async def _send(
        self, client: Client, request: Request, op: Op, headers: Mapping[str, str], body: bytes
    ) -> Answer | OSError:
        """Between its last wait and its return the clock is read, and the checker must be told next."""
        op.why = None
        try:
            answer = await client.request(request.method, request.target, headers, body)
        except OSError as error:
            self.recorder.returned(op)
            read_error(op, error)
            return error
        self.recorder.returned(op)
        read_answer(op, answer.status, answer.headers, answer.body)
        return answer
