"""The users: logged in once, then asking through one policy's address after another."""

from dataclasses import dataclass
from urllib.parse import urlencode

from lab.client import Answer, Client, cookie_of
from lab.policies.workloads import SLOW_SECONDS, USERS, Arrival, Call
from lab.refusals import LoginFailed
from loadtest.check.op import Kind, Op, Outcome
from loadtest.load.answers import fingerprint, read_answer, read_error
from loadtest.load.recorder import Recorder

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
KINDS = {Call.READ: Kind.READ, Call.VISIT: Kind.VISIT, Call.WAIT: Kind.SLOW, Call.BLOCK: Kind.SLOW}
TARGETS = {
    Call.READ: ("GET", "/api/session"),
    Call.VISIT: ("POST", "/api/visits"),
    Call.WAIT: ("GET", f"/slow?ms={SLOW_SECONDS * 1000:.0f}&kind=wait"),
    Call.BLOCK: ("GET", f"/slow?ms={SLOW_SECONDS * 1000:.0f}&kind=block"),
}


@dataclass(slots=True)
class User:
    """One session."""

    name: str
    label: str
    cookie: str
    visits: int = 0


class Crowd:
    """All users, and the record of everything they were answered."""

    def __init__(self, recorder: Recorder, password: str) -> None:
        self.recorder = recorder
        self._password = password
        self._users: list[User] = []

    async def log_in(self, client: Client, suffix: str) -> None:
        """Give every user a session.  `suffix` keeps the names apart from another run's."""
        for number in range(USERS):
            self._users.append(await self._log_in(client, f"compare-{suffix}-{number}"))

    async def log_out(self, client: Client) -> None:
        """End all sessions."""
        for user in self._users:
            op = self.recorder.invoke(Kind.LOGOUT, user.label, user.name)
            await self._send(client, op, "POST", "/logout", {"Cookie": user.cookie})
        self._users.clear()

    async def ask(self, client: Client, arrival: Arrival, due: int, address: str) -> Op:
        """Send one arrival's request as its user, from `address`; `due` is its moment in ns."""
        user = self._users[arrival.user]
        name = None
        if arrival.call is Call.VISIT:
            user.visits += 1
            name = f"{user.label}-{user.visits}"
        method, target = TARGETS[arrival.call]
        headers = {"Cookie": user.cookie, "X-Forwarded-For": address}
        kind = KINDS[arrival.call]
        op = self.recorder.invoke(kind, user.label, user.name, intended=due, op=name)
        body = f'{{"op":"{name}"}}'.encode() if name else b""
        await self._send(client, op, method, target, headers | (JSON if name else {}), body)
        return op

    async def _log_in(self, client: Client, name: str) -> User:
        op = self.recorder.invoke(Kind.LOGIN, self.recorder.new_session(), name)
        form = {"username": name, "password": self._password, "next": "/"}
        answer = await self._send(client, op, "POST", "/login", FORM, urlencode(form).encode())
        cookie = cookie_of(answer) if answer else None
        if op.outcome is not Outcome.OK or not cookie:
            raise LoginFailed(f"a login was answered with status {op.status}: {op.why}")
        return User(name, op.session, cookie)

    async def _send(
        self,
        client: Client,
        op: Op,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes = b"",
    ) -> Answer | None:
        answer = None
        try:
            answer = await client.request(method, target, headers, body)
            self.recorder.returned(op)
            read_answer(op, answer.status, answer.headers, answer.body)
            cookie = cookie_of(answer)
            op.cookie = fingerprint(cookie) if cookie and op.kind is Kind.LOGIN else None
        except OSError as error:
            read_error(op, error)
        finally:
            self.recorder.complete(op)
        return answer
