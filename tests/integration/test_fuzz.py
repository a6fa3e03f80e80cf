"""Several engines at random for a while, with cancelled calls and killed connections, against a ledger.

`SECONDS=60` makes it longer (10 in all by default), `SEED=7` repeats the choices of a run, not its timing.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.sessions import RedisSessions, Session, SessionConflict, StoreUnavailable
from app.sessions.identity import ref_of
from lab.testbed.servers import Place
from tests.integration.conftest import Engines
from tests.integration.loading import keys, load

SECONDS = float(os.environ.get("SECONDS") or 10) / 2  # for each of two places
CAP, USERS, BROWSERS, TABS = 3, 6, 2, 3
LIMITS = {
    "renew_seconds": 0.3, "renew_grace_seconds": 0.15, "touch_seconds": 0.02, "max_per_user": CAP,
}  # fmt: skip


@dataclass(eq=False)
class Life:
    """One session: what was acknowledged, what may have happened, and how it may have ended."""

    user: str
    number: int  # of its user's logins, with those that may have happened
    session_id: str  # as the browser holds it
    ended: bool = False  # an end was acknowledged
    may_end: bool = False  # an end was asked for
    written: dict[str, int] = field(default_factory=dict)
    may_be_written: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    counted: Counter[str] = field(default_factory=Counter)
    may_be_counted: Counter[str] = field(default_factory=Counter)


class Ledger:
    """All sessions of a run."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.lives: list[Life] = []
        self.logins: Counter[str] = Counter()
        self.others_end: Counter[str] = Counter()  # calls under way that end others of a user
        self.swept: set[tuple[str, int]] = (
            set()
        )  # logins, known or not, that such a call may have met
        self.done: Counter[str] = Counter()
        self.popped: list[int] = []
        self.number = 0

    def next(self) -> int:
        self.number += 1
        return self.number

    def may_be_gone(self, life: Life) -> bool:
        """Whether an end was asked for, or so many logins came after it that the cap may have ended it."""
        swept = (life.user, life.number) in self.swept or self.others_end[life.user] > 0
        capped = self.logins[life.user] - life.number >= CAP
        return life.ended or life.may_end or swept or capped

    def sweep(self, life: Life) -> None:
        """All other logins of this user until now may be over."""
        numbers = set(range(1, self.logins[life.user] + 1)) - {life.number}
        self.swept |= {(life.user, number) for number in numbers}

    async def attempt(self, what: str, call: Awaitable[Any]) -> tuple[bool, Any]:
        """The call's outcome if it has one; (False, None) where it may have happened or not."""
        task = asyncio.ensure_future(call)
        if self.chance.random() < 0.1:
            asyncio.get_running_loop().call_later(self.chance.random() / 200, task.cancel)
        try:
            outcome = await task
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if this is not None and this.cancelling():  # the run is over
                raise
            self.done["cancelled"] += 1
        except StoreUnavailable:
            self.done["no answer"] += 1
        else:
            self.done[what] += 1
            return True, outcome
        return False, None


class Browser:
    """One visitor with several tabs, each of which sends one request after the other."""

    def __init__(self, ledger: Ledger, engines: list[RedisSessions], user: str) -> None:
        self.ledger, self.engines, self.user = ledger, engines, user
        self.life: Life | None = None
        self.logging_in = asyncio.Lock()

    async def tab(self, name: str) -> None:
        while True:
            await self.request(name, self.ledger.chance.choice(self.engines))

    async def request(self, tab: str, engine: RedisSessions) -> None:
        life = self.life
        if life is None:
            await self.log_in(engine, None)
            return
        had_ended = life.ended
        known, session = await self.ledger.attempt("load", engine.load(life.session_id))
        if not known:
            return
        if session is None:
            assert self.ledger.may_be_gone(life), "a visitor was logged out for nothing"
            if self.life is life:
                self.life = None
            return
        assert not had_ended, "a session that has ended was loaded"
        does = self.ledger.chance.choices(
            [
                self.save,
                self.count,
                self.update,
                self.flash,
                self.slow,
                self.leave,
                self.end_others,
            ],
            [6, 6, 3, 3, 2, 0.3, 0.1],
        )[0]
        await does(engine, life, session, tab)
        _, new = (
            (False, None)
            if session.ended
            else await self.ledger.attempt(
                "renew" if session.renewal_due else "not due", engine.renew(session)
            )
        )
        if new is not None and self.ledger.chance.random() < 0.5:  # else the answer is lost
            life.session_id = new

    async def log_in(self, engine: RedisSessions, old: Session | None) -> None:
        async with self.logging_in:
            if self.life is not None and old is None:
                return
            self.ledger.logins[self.user] += 1
            number = self.ledger.logins[self.user]
            if old is not None and self.life is not None:
                self.life.may_end = True
            known, session_id = await self.ledger.attempt(
                "login", engine.create(self.user, replacing=old)
            )
            if known:
                if old is not None and self.life is not None:
                    self.life.ended = True
                self.life = Life(self.user, number, session_id)
                self.ledger.lives.append(self.life)

    async def save(self, engine: RedisSessions, life: Life, session: Session, tab: str) -> None:
        number = self.ledger.next()
        session[tab] = number
        life.may_be_written[tab].add(number)
        known, saved = await self.ledger.attempt("save", engine.save(session))
        if known and saved:
            life.written[tab] = number
            life.may_be_written[tab].clear()
        elif known:
            assert self.ledger.may_be_gone(life), "a write was dropped though the session lives"
            life.may_be_written[tab].discard(number)

    async def count(self, engine: RedisSessions, life: Life, session: Session, tab: str) -> None:
        operation, sums = str(self.ledger.next()), set()
        life.may_be_counted["n"] += 1
        for _ in range(self.ledger.chance.choice([1, 1, 2, 3])):  # a client that repeats itself
            known, total = await self.ledger.attempt(
                "count", engine.increment(session, "n", operation=operation)
            )
            sums |= {total} if known and total is not None else set()
        assert len(sums) <= 1, "one operation had two results"
        if sums:
            life.counted["n"] += 1
            life.may_be_counted["n"] -= 1

    async def update(self, engine: RedisSessions, life: Life, session: Session, tab: str) -> None:
        def add(newest: Session) -> None:
            newest["sum"] = newest.get("sum", 0) + 1

        life.may_be_counted["sum"] += 1
        try:
            known, saved = await self.ledger.attempt("update", engine.update(session, add))
        except SessionConflict:
            known, saved = True, False
            self.ledger.done["conflict"] += 1
        if known:
            life.may_be_counted["sum"] -= 1
            life.counted["sum"] += bool(saved)

    async def flash(self, engine: RedisSessions, life: Life, session: Session, tab: str) -> None:
        if "flash" not in session:
            session["flash"] = self.ledger.next()
            await self.ledger.attempt("flash", engine.save(session))
            return
        known, value = await self.ledger.attempt("pop", engine.pop(session, "flash"))
        if known and value is not None:
            self.ledger.popped.append(value)

    async def slow(self, engine: RedisSessions, life: Life, session: Session, tab: str) -> None:
        """A page that takes longer than the grace of a renewal, and then writes."""
        await asyncio.sleep(self.ledger.chance.random() * 0.8)
        await self.save(engine, life, session, tab)

    async def leave(self, engine: RedisSessions, life: Life, session: Session, tab: str) -> None:
        if self.ledger.chance.random() < 0.5:
            if self.life is life:
                await self.log_in(engine, session)
            return
        life.may_end = True
        known, _ = await self.ledger.attempt("logout", engine.destroy(session))
        life.ended = life.ended or known

    async def end_others(
        self, engine: RedisSessions, life: Life, session: Session, tab: str
    ) -> None:
        self.ledger.others_end[self.user] += 1
        self.ledger.sweep(life)
        await self.ledger.attempt("end others", engine.end_others(session))
        self.ledger.sweep(life)
        self.ledger.others_end[self.user] -= 1


@asynccontextmanager
async def kills(place: Place, ledger: Ledger) -> AsyncIterator[None]:
    """Now and then every client's connection to one of the servers is closed."""

    async def kill() -> None:
        while True:
            await asyncio.sleep(0.05 + ledger.chance.random() / 2)
            ledger.chance.choice(place.nodes).admin.client_kill_filter(_type="normal", skipme=True)
            ledger.done["kill"] += 1

    task = asyncio.create_task(kill())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def check(ledger: Ledger, store: RedisSessions) -> None:
    """Everything acknowledged is there, nothing that has ended is, and nothing is there twice."""
    for life in ledger.lives:
        session = await store.load(life.session_id)
        if life.ended:
            assert session is None, "a session that has ended is back"
        if session is None:
            assert ledger.may_be_gone(life), "a visitor was logged out for nothing"
            continue
        for tab, number in life.written.items():
            assert session[tab] in {number, *life.may_be_written[tab]}, (
                "an acknowledged write is lost"
            )
        for name in ("n", "sum"):
            least = life.counted[name]
            assert least <= session.get(name, 0) <= least + life.may_be_counted[name], name
    twice = [value for value, times in Counter(ledger.popped).items() if times > 1]
    assert twice == [], "a flash message was taken out twice"


async def check_redis(place: Place, store: RedisSessions) -> None:
    """Index and sessions agree, caps are kept, and every key expires by itself."""
    refs: defaultdict[str, set[str]] = defaultdict(set)
    for key in keys(place, "session:*"):
        owner = place.admin.hget(key, "user").decode()
        refs[owner].add(ref_of(key.decode().rpartition(":")[2]))
    for user in [f"user-{n}" for n in range(USERS)]:
        assert {device.ref for device in await store.devices(user)} == refs[user]
        assert len(refs[user]) <= CAP
    for key in keys(place):
        assert place.admin.pttl(key) > 0, key


async def test_whatever_happens(
    engines: Engines, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """No acknowledged write is lost, nobody is logged out, nothing comes back, and Redis stays tidy."""
    seed = int(os.environ.get("SEED") or random.randrange(10**6))
    ledger, four = Ledger(seed), engines(4, **LIMITS)
    browsers = [
        Browser(ledger, four, f"user-{user}") for user in range(USERS) for _ in range(BROWSERS)
    ]
    tabs = [
        asyncio.create_task(browser.tab(f"tab-{n}-{tab}"))
        for n, browser in enumerate(browsers)
        for tab in range(TABS)
    ]
    async with kills(place, ledger):
        done, _ = await asyncio.wait(tabs, timeout=SECONDS, return_when=asyncio.FIRST_EXCEPTION)
    for task in tabs:
        task.cancel()
    await asyncio.gather(*tabs, return_exceptions=True)
    with capsys.disabled():
        print(f"\nSEED={seed} on {len(place.nodes)} server(s): {dict(ledger.done)}")
    for task in done:
        task.result()
    (store,) = engines(1, **LIMITS)
    await asyncio.sleep(0.2)
    await check(ledger, store)
    await check_redis(place, store)
    assert {"save", "count", "update", "pop", "renew", "logout", "kill", "cancelled"} <= {
        *ledger.done
    }


async def test_the_ledger_notices(engines: Engines, place: Place) -> None:
    """A lost write, a lost count, a revived session, a missing index and a key without end each fail it."""
    (store,) = engines(1, **LIMITS)
    session_id = await store.create("user-0", {"tab": 1, "n": 1})
    session = await load(store, session_id)
    for wrong in (
        Life("user-0", 1, session_id, written={"tab": 2}),
        Life("user-0", 1, session_id, counted=Counter(n=2)),
        Life("user-0", 1, session_id, ended=True),
        Life("user-0", 1, "A" * 40),
    ):
        ledger = Ledger(0)
        ledger.lives.append(wrong)
        with pytest.raises(AssertionError):
            await check(ledger, store)
    await check_redis(place, store)
    place.admin.persist(keys(place, "session:*")[0])
    with pytest.raises(AssertionError):
        await check_redis(place, store)
    await store.touch(session)
    place.admin.delete(keys(place, "user:*")[0])
    with pytest.raises(AssertionError):
        await check_redis(place, store)
