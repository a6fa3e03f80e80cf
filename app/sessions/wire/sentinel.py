"""The master that Sentinels name: asked for at each connect, and followed when it moves.

All Sentinels of the URL are asked at once, so any may be down, and the newest configuration among the
answers is right.  All are listened to.  Client guide:
https://redis.io/docs/latest/develop/reference/sentinel-clients/
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from .address import Address, Place
from .calls import pack
from .connection import C, Connection, Receiver, Refused, connect

# A Sentinel that was elected says so before it has promoted anybody.  What the old master takes from
# then on may be lost, even if another replica acknowledges it.
BEGINS = "+failover-state-send-slaveof-noone"
ENDED = "+switch-master"
ABORTED = ("-failover-abort-no-good-slave", "-failover-abort-slave-timeout")
MOVING_SECONDS = 10.0  # a failover that has not ended by then is not waited for
GRACE_SECONDS = 0.05  # for the answers of other Sentinels after the first
POLL_SECONDS = 0.05
AGAIN_SECONDS = (0.2, 1.0)  # between tries to listen to one, at random
# A majority that is out of reach is noticed within 1.2 s, before it can have promoted anybody: its
# down-after-milliseconds must be 2000 at least.
PING_SECONDS = 0.4
MOST_UNANSWERED = 2

log = logging.getLogger(__name__)


class Sentinels:
    """`moved` is called when connections to the master should be made anew.

    With `majority`, no master is trusted while fewer than half of the Sentinels are in reach: the others
    may have promoted another one, and what this one says may be old.
    """

    def __init__(
        self,
        address: Address,
        timeout_seconds: float,
        moved: Callable[[], None],
        *,
        majority: bool = False,
    ) -> None:
        self._needed = len(address.hosts) // 2 + 1 if majority else 1
        self._majority = majority
        self._heard = 0  # Sentinels that are listened to now
        self._name = address.master
        self._places = address.hosts
        self._address = replace(address, login=address.sentinel_login, database=0)
        self._timeout_seconds = timeout_seconds
        self._moved = moved
        self._moves = 0  # so often
        self._master: Place | None = None  # as last told
        self._leaving: Place | None = None  # a failover takes its role away
        self._until = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    async def connected(self, open_: Callable[[Place], Awaitable[C]]) -> C:
        """What `open_` opens to the master; while a failover is under way, to the new one.

        One that was begun before the master moved is given up: a server that stood still meanwhile and goes on
        answers as the master that it was.  Raises OSError when no Sentinel answers or none knows the name,
        and what `open_` raises.  The caller limits the time.
        """
        while True:
            moves = self._moves
            place = await self._look_up()
            if moves != self._moves:
                continue
            connection = await open_(place)
            if moves == self._moves:
                return connection
            connection.close("the master has moved")

    async def _look_up(self) -> Place:
        """Where the master is; others must not stay where it was before."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._listen(place)) for place in self._places]
        clock = asyncio.get_running_loop().time
        while (found := await self._ask_all()) == self._leaving and clock() < self._until:
            await asyncio.sleep(POLL_SECONDS)
        if self._master not in (None, found):
            self._move()
        self._master, self._leaving = found, None
        return found

    def _move(self) -> None:
        self._moves += 1
        self._moved()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- asking

    async def _ask_all(self) -> Place:
        """The place that the Sentinel with the newest configuration names."""
        asking = {asyncio.create_task(self._ask(place)) for place in self._places}
        answers: list[tuple[int, Place]] = []  # each with the epoch of its configuration
        reason, wait = "none answers", None
        try:
            while asking:
                done, asking = await asyncio.wait(
                    asking, timeout=wait, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    if isinstance(error := task.exception(), Exception):
                        reason = str(error) or "one does not answer"
                    else:
                        answers.append(task.result())
                if len(answers) >= self._needed:
                    wait = GRACE_SECONDS
                if not done:
                    break
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        if len(answers) < self._needed:
            raise OSError(f"{len(answers)} of {len(self._places)} Sentinels name it: {reason}")
        return max(answers)[1]

    async def _ask(self, place: Place) -> tuple[int, Place]:
        """The epoch of this Sentinel's configuration, and where it says the master is."""
        connection = Connection()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await connect(connection, self._address, place)
                where, about = await connection.ask(
                    ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name),
                    ("SENTINEL", "MASTER", self._name),
                )
        finally:
            connection.close("asked")
        if isinstance(where, Refused) or isinstance(about, Refused) or where is None:
            raise OSError(str(about) if isinstance(about, Refused) else str(where))
        facts = dict(zip(about[::2], about[1::2], strict=True))
        return int(facts[b"config-epoch"]), (where[0].decode(), int(where[1]))

    # ---- listening

    async def _listen(self, place: Place) -> None:
        """Hear one Sentinel until cancelled."""
        complained = False
        while True:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    ear = await connect(_Ear(self._received), self._address, place)
                self._heard += 1
                try:
                    ear.write(pack(("SUBSCRIBE", BEGINS, ENDED, *ABORTED)))
                    complained = False
                    await self._look_again()
                    reason = await (self._ping(ear) if self._majority else ear.ended)
                finally:
                    self._heard -= 1
                    ear.close("not listened to any more")
                    if self._majority and self._heard < self._needed:
                        self._move()
            except (OSError, TimeoutError) as error:
                reason = str(error) or f"no answer within {self._timeout_seconds:g} s"
            if not complained:
                host, port = place
                reason = reason.removeprefix(f"{host}:{port}: ")
                log.warning("the Sentinel at %s:%d is not heard: %s", host, port, reason)
            complained = True
            await asyncio.sleep(random.uniform(*AGAIN_SECONDS))

    async def _ping(self, ear: _Ear) -> str:
        """Why this Sentinel is not heard any more; silence is a reason."""
        while not ear.ended.done():
            if ear.unanswered >= MOST_UNANSWERED:
                return "it does not answer"
            ear.unanswered += 1
            ear.write(pack(("PING",)))
            await asyncio.wait([ear.ended], timeout=PING_SECONDS)
        return await ear.ended

    async def _look_again(self) -> None:
        """Something may have moved while this Sentinel was not heard."""
        known = self._master
        if known is not None and await self._ask_all() != known:
            self._move()

    def _received(self, answer: Any) -> None:
        """A Sentinel's event: `NAME HOST PORT HOST PORT` of a switch, else `slave ... @ NAME HOST PORT`."""
        if answer[0] != b"message":
            return
        channel, words = answer[1].decode(), answer[2].decode().split(" ")
        if channel == ENDED and words[0] == self._name:
            self._leaving = None
            if self._master is not None and words[3:5] != [self._master[0], str(self._master[1])]:
                self._move()
        elif self._name in words:
            begins = channel == BEGINS
            self._leaving = self._master if begins else None
            self._until = asyncio.get_running_loop().time() + MOVING_SECONDS
            if begins:
                self._move()


class _Ear(Receiver):
    """A connection on which a Sentinel's events come."""

    unanswered = 0  # PINGs

    def take(self) -> None:
        self.unanswered = 0
        super().take()
