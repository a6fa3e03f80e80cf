"""A connection that carries calls: they go out in one write, and their answers come back in order.

One timer watches the oldest call.  Nothing is sent a second time but what certainly did not run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from .calls import DID_NOT_RUN, Call, PlainRequest, StoreUnavailable, pack
from .connection import NOT_YET, Connection, Refused

# By a server that is not the master any more, or not yet.  The name may lead elsewhere by now.
NOT_THE_MASTER = ("READONLY", "LOADING", "MASTERDOWN")
# Of the time limit, for replicas.  The rest is for the way to Redis and back, and for Redis 7, which looks
# ten times a second only whether a WAIT is over.
WAIT_SHARE = 0.6

Observe = Callable[[float], object] | None
Refusal = Callable[[Call, str], None]


class Exchange(Connection):
    """`refused` is told of each call that certainly did not run, and why."""

    def __init__(
        self, timeout_seconds: float, observe: Observe = None, refused: Refusal = Call.refuse
    ) -> None:
        super().__init__()
        self.usable = True  # for further calls
        self._loop = asyncio.get_running_loop()
        self._timeout_seconds = timeout_seconds
        self._observe = observe
        self._refused = refused
        self._unanswered: deque[Call] = deque()
        self._watch: asyncio.TimerHandle | None = None

    def send(self, calls: list[Call]) -> None:
        self._write(calls, [call.request.packed for call in calls])

    def retire(self, reason: str) -> None:
        """Take no further calls, and close when those under way are answered."""
        self.usable = False
        if not self._unanswered:
            self.close(reason)

    def lost(self, reason: str) -> None:
        """What was sent and not answered may have happened."""
        self.usable = False
        if self._watch is not None:
            self._watch.cancel()
        while self._unanswered:
            self._unanswered.popleft().fail(reason, may_have_happened=True)

    def take(self) -> None:
        unknown: list[Call] = []
        sent_at = 0.0
        get, unanswered = self.reader.gets, self._unanswered
        try:
            while (answer := get()) is not NOT_YET:
                call = unanswered.popleft()
                sent_at = call.sent_at
                if type(answer) is not Refused:
                    if not call.answer.done():  # nobody waits where the request was cancelled
                        call.answer.set_result(answer)
                elif str(answer).startswith("NOSCRIPT"):
                    unknown.append(call)
                else:
                    self._take_refusal(call, str(answer))
        except BaseException:
            for call in unknown:
                call.fail("the connection to Redis was lost", may_have_happened=False)
            raise
        if sent_at and self._observe is not None:
            self._observe(self._loop.time() - sent_at)
        if unknown:
            # A restarted Redis knows no script by name, so these did not run: now in full.
            self._write(unknown, [pack(call.request.in_full()) for call in unknown])
        if not self.usable and not unanswered:
            self.close("this connection is not used any more")

    def _take_refusal(self, call: Call, error: str) -> None:
        if error.startswith(NOT_THE_MASTER):
            self.usable = False
        if error.startswith(DID_NOT_RUN):
            self._refused(call, error)
        else:
            call.refuse(error)

    def _write(self, calls: list[Call], commands: list[bytes]) -> None:
        now = self._loop.time()
        for call in calls:
            call.sent_at = now
        self.write(b"".join(commands))
        self._unanswered.extend(calls)
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout_seconds, self._check_oldest)

    def _check_oldest(self) -> None:
        """Give up once the oldest call has waited for the time limit, else look again when it will have."""
        self._watch = None
        if not self._unanswered:
            return
        left = self._unanswered[0].sent_at + self._timeout_seconds - self._loop.time()
        if left <= 0.001:
            self.close(f"no answer from Redis within {self._timeout_seconds:g} s")
        else:
            self._watch = self._loop.call_later(left, self._check_oldest)


class AcknowledgedExchange(Exchange):
    """Hands over answers when `replicas` have what the calls wrote: one WAIT closes each write.

    WAIT holds up what comes after it on the connection, so calls that need none have another one.
    """

    def __init__(
        self,
        replicas: int,
        timeout_seconds: float,
        observe: Observe = None,
        refused: Refusal = Call.refuse,
    ) -> None:
        super().__init__(timeout_seconds, observe, refused)
        self._replicas = replicas
        milliseconds = round(timeout_seconds * WAIT_SHARE * 1000)
        self._wait = PlainRequest("WAIT", replicas, milliseconds)

    def _write(self, calls: list[Call], commands: list[bytes]) -> None:
        written = [call.anew(call.request, self._loop.create_future()) for call in calls]
        wait = Call(self._wait, self._loop.create_future())
        wait.answer.add_done_callback(
            partial(self._hand_over, list(zip(calls, written, strict=True)))
        )
        super()._write([*written, wait], [*commands, self._wait.packed])

    def _hand_over(self, pairs: list[tuple[Call, Call]], waited: asyncio.Future[int]) -> None:
        failed = waited.exception()
        reason = str(failed)
        if failed is None and waited.result() < self._replicas:
            reason = f"only {waited.result()} of {self._replicas} replicas acknowledged the write"
            failed = StoreUnavailable(reason, may_have_happened=True)
        for call, written in pairs:
            if not written.answer.done():  # it goes again, with a WAIT of its own
                written.answer.add_done_callback(partial(_pass_on, call.answer))
            elif failed is None or written.answer.exception() is not None:
                _pass_on(call.answer, written.answer)
            else:
                call.fail(reason, may_have_happened=True)


def _pass_on(to: asyncio.Future[Any], done: asyncio.Future[Any]) -> None:
    error = done.exception()
    if to.done():  # nobody waits where the request was cancelled
        return
    if error is None:
        to.set_result(done.result())
    else:
        to.set_exception(error)
