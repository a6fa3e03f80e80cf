"""More broken stacks, by the kind of what is broken; one small fault each.

Several of them can share a stack, if each breaks a promise of its own: the short form tries them so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from lab.mutants.catalogue import POLICY, Mutant
from loadtest.check.op import Invariant

FAULTY = "lab.mutants.workers.faulty"
MOST_AT_ONCE = 6  # faults of one stack: each of them disturbs what the others need
LONGER_SECONDS = 6  # a run against several goes on after a violation, so that each is met
SHORT_LIVES = {"SESSION_IDLE_SECONDS": "4", "SESSION_TOUCH_SECONDS": "0.4"}
STRANGE = "do not know each other's sessions"


def _fault(fault: str, named: Invariant, **more: Any) -> Mutant:
    return Mutant(fault, 10, named, workers=FAULTY, faults=(fault,), **more)


def _one_worker(name: str, fault: str, code: int, **more: Any) -> Mutant:
    return Mutant(name, code, workers=FAULTY, faults=(fault,), only_one=True, **more)


VALUES = (
    _fault("long texts are cut", Invariant.VALUE_AS_WRITTEN),
    _fault("numbers lose digits", Invariant.VALUE_AS_WRITTEN),
    _fault("numbers wrap at 32 bits", Invariant.VALUE_AS_WRITTEN),
    _fault("texts are trimmed", Invariant.VALUE_AS_WRITTEN),
    _fault("keys lose their case", Invariant.VALUE_AS_WRITTEN),
    _fault("nothing is taken for absent", Invariant.NOTHING_VANISHES),
    _fault("fields are forgotten at rest", Invariant.NOTHING_VANISHES),
    _fault("visits are forgotten at rest", Invariant.NOTHING_VANISHES),
    _fault("a write drops another field", Invariant.NOTHING_VANISHES),
    _fault("the version stands still", Invariant.VERSION_GROWS),
)
LIFETIMES = (
    _fault("use moves the absolute timeout", Invariant.LIFETIME),
    _one_worker("a worker does not touch", "use does not move the idle timeout", 10,
                named=Invariant.IDLE_MOVES, settings=SHORT_LIVES),
    _fault("pages do not move the idle timeout", Invariant.IDLE_MOVES, settings=SHORT_LIVES, only_long=True),
    _fault("sessions end too early", Invariant.NO_PHANTOM_LOGOUT, settings=SHORT_LIVES, only_long=True),
    _fault("sessions never end", Invariant.TIMEOUT_ENDS, seconds=6, settings=SHORT_LIVES),
)  # fmt: skip
OTHERS = (
    _fault("end others leaves one", Invariant.END_IS_FINAL),
    _fault("end others ends the own one", Invariant.NO_PHANTOM_LOGOUT),
    _fault("end of one ends others", Invariant.NO_PHANTOM_LOGOUT, only_long=True),
    _fault("anybody's session can be ended", Invariant.NO_PHANTOM_LOGOUT),
    _fault("logout ends all", Invariant.NO_PHANTOM_LOGOUT, only_long=True),
    _fault("a login ends the others", Invariant.NO_PHANTOM_LOGOUT, only_long=True),
    _one_worker("a worker's logout leaves the session", "logout leaves the session", 10,
                named=Invariant.LOGOUT_IS_FINAL, only_long=True),
    _fault("a list forgets a device", Invariant.DEVICE_LIST),
    _fault("a list shows the ended", Invariant.DEVICE_LIST),
    _fault("a list marks another one", Invariant.DEVICE_LIST),
    _fault("a list swaps browsers", Invariant.DEVICE_LIST),
    _fault("logout leaves the cookie", Invariant.LOGOUT_CLEARS_COOKIE),
    _fault("end of this one leaves the cookie", Invariant.LOGOUT_CLEARS_COOKIE),
    _fault("end all leaves the cookie", Invariant.LOGOUT_CLEARS_COOKIE),
    Mutant("no cap on sessions", 10, Invariant.CAP_ENDS_OLDEST, workers="app",
           own={"SESSION_MAX_PER_USER": "1000"}),
)  # fmt: skip
PAGES = (
    _fault("pages are kept", Invariant.PAGE_IS_FRESH),
    _fault("the page of devices is kept", Invariant.DEVICE_LIST),
)
WHO_ANSWERS = (
    Mutant("workers chosen by chance", 11, reason="this is no round robin",
           upstream=(POLICY, f"{POLICY} random;")),
    Mutant("workers chosen by address and path", 11, reason="this is no round robin",
           upstream=(POLICY, f"{POLICY} hash $request_uri;"), only_long=True),
    Mutant("a weight that nobody told", 11, reason="times as many requests",
           upstream=("fail_timeout=1s;", "fail_timeout=1s weight=2;"), only_long=True),
    _one_worker("a worker is slow", "answers come late", 12, reason="later than the others",
                seconds=4),
    _one_worker("a worker is slow at times", "some answers come late", 12,
                reason=" answer", only_long=True),
    _one_worker("a worker fails at times", "some answers fail", 12, reason=" failed ", seconds=4),
)  # fmt: skip
LATE = (
    _fault("logouts are undone after a second", Invariant.LOGOUT_IS_FINAL, seconds=4),
    _fault(
        "ended devices come back after a second", Invariant.END_IS_FINAL, seconds=4, only_long=True
    ),
    _fault("login brings the old session back", Invariant.LOGOUT_IS_FINAL),
    _fault("deleted fields come back after a second", Invariant.DELETE_IS_FINAL, seconds=4),
    _fault("deleted fields come back with a visit", Invariant.DELETE_IS_FINAL, seconds=4),
    _fault("login keeps the old data", Invariant.VALUE_AS_WRITTEN),
)
REPEATS = (
    _fault("repeats count again", Invariant.REPEAT_COUNTS_ONCE),
    _fault("only the last operation is remembered", Invariant.REPEAT_COUNTS_ONCE),
    _fault("operations are forgotten after a second", Invariant.REPEAT_COUNTS_ONCE, seconds=4),
    _fault("sessions share operations", Invariant.NO_LOST_UPDATE, only_long=True),
)
REFUSALS = (
    _fault("any password", Invariant.WRONG_PASSWORD),
    _fault("similar passwords", Invariant.WRONG_PASSWORD, only_long=True),
    _fault("ids need no signature", Invariant.NO_STRANGER),
    _fault("guests are served", Invariant.NO_STRANGER),
)
RARE = (
    _fault("one write in a hundred is lost", Invariant.BOUNDS),
    _fault("writes come 50 ms late", Invariant.READ_YOUR_WRITES, only_long=True),
)
CAUSES = (
    _fault("a cache hands out cookies", Invariant.IDENTITY),
    _fault("each answer sets the cookie", Invariant.COOKIE_WHEN_DUE),
    _fault("a miss clears the cookie", Invariant.COOKIE_WHEN_DUE, only_long=True),
    Mutant("a worker has another key", 10, Invariant.NO_PHANTOM_LOGOUT, workers="app",
           reason=STRANGE, only_one=True,
           own={"SESSION_SECRETS": "another-key-of-more-than-32-characters"}),
    Mutant("a worker has another database", 10, Invariant.NO_PHANTOM_LOGOUT, workers="app",
           reason=STRANGE, only_one=True, own={"REDIS_DB": "1"}, only_long=True),
)  # fmt: skip
BY_KIND = (
    VALUES, LIFETIMES, OTHERS, PAGES, WHO_ANSWERS, LATE, REPEATS, REFUSALS, RARE, CAUSES,
)  # fmt: skip
KINDS = tuple(mutant for kind in BY_KIND for mutant in kind)

# What breaks these breaks more than its own promise, and would hide others.
APART = frozenset({
    Invariant.NO_PHANTOM_LOGOUT, Invariant.IDENTITY, Invariant.READ_YOUR_WRITES,
    Invariant.NO_LOST_UPDATE, Invariant.WRONG_PASSWORD,
})  # fmt: skip


def together(mutants: Iterable[Mutant]) -> list[Mutant]:
    """The short form: each stack has one fault for each of several promises, and all are looked for."""
    shared: list[Mutant] = []
    alone: list[Mutant] = []
    for mutant in mutants:
        if mutant.only_long:
            continue
        if not _may_share(mutant):
            alone.append(mutant)
            continue
        fits = (at for at, one in enumerate(shared) if _fits(mutant, one))
        if (at := next(fits, None)) is None:
            shared.append(mutant)
        else:
            shared[at] = _joined(shared[at], mutant)
    numbered = [
        replace(
            one,
            name=f"{len(one.faults)} faults at once, {number}",
            seconds=one.seconds + LONGER_SECONDS,
        )
        for number, one in enumerate(shared, start=1)
    ]
    return [*numbered, *alone]


def _may_share(mutant: Mutant) -> bool:
    special = mutant.only_one or mutant.settings or mutant.own
    return bool(mutant.faults) and not special and mutant.named not in APART


def _fits(mutant: Mutant, shared: Mutant) -> bool:
    return mutant.named not in shared.names and len(shared.faults) < MOST_AT_ONCE


def _joined(one: Mutant, other: Mutant) -> Mutant:
    return replace(
        one,
        faults=one.faults + other.faults,
        also=(*one.also, *other.names),
        seconds=max(one.seconds, other.seconds),
    )
