"""Visitors of the workers with one setting: what they are answered while the store fails over, and what is lost."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lab.client import Client
from lab.visitors import LOGOUT, READ, VISIT, LoginFailed, Request, Visitor, Visitors
from loadtest.check.history import Sink
from loadtest.check.online import Checker
from loadtest.check.op import Kind, Op, Outcome
from loadtest.load.recorder import Recorder

STAY = 24  # visitors who read and write, each ten times a second
PAUSE_SECONDS = 0.1
LEAVE_SECONDS = 0.1  # between two logouts
COME_SECONDS = 0.2  # between two logins
LEAVERS = 100  # sessions that wait to be logged out
ANSWER_SECONDS = 5.0
BEFORE_NS = 2_000_000_000  # acknowledged so long before a failure, a write may still be lost by it
PROBE = Request(Kind.PROBE, "GET", "/api/session")


@dataclass(frozen=True)
class Loss:
    """What one failure cost the visitors of one setting.  Times are in seconds."""

    without_service: float  # the longest time between two acknowledged writes
    after_promotion: float  # until the next acknowledged write
    lost_writes: int
    logged_out: int
    revived: int
    wrong_user: int


class Traffic:
    """`urls` are workers that take turns, request by request."""

    def __init__(self, name: str, begin: str, urls: Sequence[str]) -> None:
        """`begin` is what the names of its users begin with."""
        self.name = name
        self.ops: list[Op] = []
        self._recorder = Recorder(Checker(), _Kept(self.ops))
        self._visitors = Visitors(self._recorder, "demo")
        self._clients = [Client(url, ANSWER_SECONDS) for url in urls]
        self._turns: Iterator[Client] = itertools.cycle(self._clients)
        self._names = (f"{begin}-{number}" for number in itertools.count())
        self._tasks: list[asyncio.Task[None]] = []
        self._staying: list[Visitor] = []
        self._leaving: list[Visitor] = []
        self._new: list[Visitor] = []
        self._left: list[Visitor] = []  # acknowledged; with the cookie they had

    async def begin(self) -> None:
        """Log everybody in, and go on until `end`."""
        self._staying = await self._log_in(STAY)
        loops = [*(self._stay(visitor) for visitor in self._staying), self._leave(), self._come()]
        self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def refill(self) -> None:
        """Before the next failure: sessions to be logged out while it lasts."""
        self._leaving += await self._log_in(LEAVERS - len(self._leaving))

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in self._clients:
            client.close()

    async def loss(self, began: float, promoted: float, users: set[str] | None = None) -> Loss:
        """Of what has been since `began`, a moment of time.monotonic(); who came or left is asked once more first.

        `users` are those whose service is timed; all by default.
        """
        since = int(began * 1e9)
        await asyncio.gather(*(self._ask(replace(visitor), PROBE) for visitor in self._left))
        await asyncio.gather(*(self._ask(visitor, READ) for visitor in self._new))
        self._new.clear()
        ops = [op for op in self.ops if op.returned >= since]
        written = sorted(
            op.returned
            for op in ops
            if op.kind is Kind.VISIT and op.outcome is Outcome.OK
            if users is None or op.user in users
        )
        gaps = [after - before for before, after in itertools.pairwise([since, *written])]
        served = next((at for at in written if at >= promoted * 1e9), time.monotonic_ns())
        ended = {op.session for op in self.ops if op.kind is Kind.LOGOUT}
        self._left.clear()
        return Loss(
            without_service=max([*gaps, time.monotonic_ns() - max([since, *written])]) / 1e9,
            after_promotion=served / 1e9 - promoted,
            lost_writes=lost_writes([op for op in self.ops if op.invoked >= since - BEFORE_NS]),
            logged_out=len({op.session for op in ops if op.outcome is Outcome.DENIED} - ended),
            revived=len({op.session for op in ops if op.kind is Kind.PROBE and op.status == 200}),
            wrong_user=sum(op.seen is not None and op.seen != op.user for op in ops),
        )

    def failed_reads(self, since: float, users: set[str]) -> int:
        """Reads of these users' sessions since then that were not answered with success."""
        return sum(
            op.kind is Kind.READ and op.user in users and op.outcome is not Outcome.OK
            for op in self.ops
            if op.invoked >= since * 1e9
        )

    @property
    def users(self) -> set[str]:
        """Who stays."""
        return {visitor.user for visitor in self._staying}

    async def _log_in(self, count: int) -> list[Visitor]:
        return await self._visitors.log_in(next(self._turns), itertools.islice(self._names, count))

    async def _ask(self, visitor: Visitor, request: Request) -> Op:
        return await self._visitors.ask(next(self._turns), visitor, request)

    async def _stay(self, visitor: Visitor) -> None:
        for request in itertools.cycle((VISIT, READ)):
            await self._ask(visitor, request)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _leave(self) -> None:
        while True:
            if self._leaving:
                visitor = self._leaving.pop()
                cookie = visitor.cookie
                op = await self._ask(visitor, LOGOUT)
                if op.outcome is Outcome.OK:
                    self._left.append(replace(visitor, cookie=cookie))
            await asyncio.sleep(LEAVE_SECONDS)

    async def _come(self) -> None:
        """Sessions that are new when the store fails over; each is asked again in the end."""
        while True:
            try:
                self._new += await self._log_in(1)
            except LoginFailed:
                pass
            await asyncio.sleep(COME_SECONDS)


def lost_writes(ops: Sequence[Op]) -> int:
    """Acknowledged raises after which an answer to a later request shows a count below theirs."""
    lost = 0
    lowest: dict[str, int] = {}  # that a later request has shown, by session
    for op in sorted(ops, key=lambda op: op.invoked, reverse=True):
        if op.value is None or op.outcome is not Outcome.OK:
            continue
        lost += op.kind is Kind.VISIT and op.value > lowest.get(op.session, op.value)
        shown = op.value - (op.kind is Kind.VISIT)
        lowest[op.session] = min(shown, lowest.get(op.session, shown))
    return lost


class _Kept(Sink):
    def __init__(self, ops: list[Op]) -> None:
        self._ops = ops

    def write(self, op: Op) -> None:
        self._ops.append(op)

    def close(self) -> None:
        pass
