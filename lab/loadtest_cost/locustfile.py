"""The load test's closed users, and the same ones sending the same requests without any check."""

from collections.abc import Callable
from typing import Any

from locust.env import Environment

from loadtest.check.op import Kind, Lifetimes, Op, Outcome
from loadtest.load.answers import given_cookie
from loadtest.load.browser import Browser
from loadtest.load.recorder import Recorder
from loadtest.locustfile import Closed

__all__ = ["Checked", "Plain"]

Closed.accompany = lambda _: ()  # neither arrivals nor late looks: only the users are compared


class Checked(Closed):
    """As in every run."""


class _NoRecord:
    """Stands where the recorder and its checker stand, and remembers only how to name sessions."""

    cookies_withheld = 0
    prefix = ""
    lifetimes = Lifetimes()
    checker: "_NoRecord"

    def __init__(self) -> None:
        self.checker = self
        self._sessions = 0

    def new_session(self) -> str:
        self._sessions += 1
        return f"s{self._sessions}"

    def invoke(self, kind: Kind, session: str, user: str, *_: Any, **__: Any) -> Op:
        return Op(0, kind, session, user, 0)

    def close(self, session: str) -> None:
        """Nothing to check."""


class PlainBrowser(Browser):
    """Sends, and believes whatever comes back: no record, no parsing, no checker, no history."""

    def __init__(self, environment: Environment, recorder: Recorder, host: str) -> None:
        nothing: Any = _NoRecord()
        super().__init__(environment, nothing, host)

    def _send(
        self,
        op: Op,
        method: str,
        path: str,
        body: str | None,
        headers: dict[str, str],
        examine: Callable[[Op, Any], bool],
    ) -> Op:
        with self._http.request(
            method, path, name=str(op.kind), data=body, headers=headers, catch_response=True
        ) as response:
            op.outcome = Outcome.OK if response.status_code else Outcome.UNKNOWN
            if op.kind is Kind.LOGIN and given_cookie(response.headers):
                examine(op, response)
            response.success()
        return op


class Plain(Closed):
    """The same scenarios with the same seed."""

    browser = PlainBrowser
