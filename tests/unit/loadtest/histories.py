"""Makes correct histories from a script of numbers, and the tail that all of them end in."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from loadtest.check.online import Checker
from loadtest.check.op import RAISES, SHOWS, Kind, Lifetimes, Op, Outcome
from loadtest.check.tally import Report

LIMITS = Lifetimes(idle_seconds=60, absolute_seconds=600)
SECOND = 10**9


@dataclass
class Simulation:
    """One correct session store, its clients, and a clock that moves 1 ms with every event."""

    ops: list[Op] = field(default_factory=list)
    now: int = 0
    count: dict[tuple[str, str | None], int] = field(default_factory=dict)
    in_flight: list[Op] = field(default_factory=list)
    done: list[Op] = field(default_factory=list)  # deletes that took effect

    def tick(self) -> int:
        """The next moment."""
        self.now += SECOND // 1000
        return self.now

    def invoke(self, kind: Kind, session: str, **more: Any) -> Op:
        """Send a request."""
        op = Op(len(self.ops), kind, session, f"user-{session}", self.tick(), **more)
        self.ops.append(op)
        self.in_flight.append(op)
        return op

    def take_effect(self, op: Op) -> None:
        """The moment at which the store serves it; once only."""
        name = (op.session, op.key)
        if op.value is None and (op.kind in RAISES or op.kind in SHOWS):
            self.count[name] = self.count.get(name, 0) + (op.kind in RAISES)
            op.value = self.count[name]
        elif op.kind is Kind.DELETE and op not in self.done:
            self.count[name] = 0
            self.done.append(op)

    def answer(self, op: Op, outcome: Outcome = Outcome.OK) -> Op:
        """Let the answer arrive; an unknown outcome arrives without one."""
        op.returned, op.outcome = self.tick(), outcome
        self.in_flight.remove(op)
        if outcome is Outcome.OK:
            self.take_effect(op)
            op.seen = op.user
            if op.kind is Kind.READ:
                op.idle, op.absolute = 59.0, 600 - op.returned / SECOND
        else:
            op.value = None
        return op

    def do(self, kind: Kind, session: str, outcome: Outcome = Outcome.OK, **more: Any) -> Op:
        """A request with nothing beside it."""
        return self.answer(self.invoke(kind, session, **more), outcome)


@dataclass
class Tail:
    """The requests that every history ends in, to be falsified one by one."""

    first_visit: Op
    first_read: Op
    second_visit: Op
    second_read: Op
    last_read: Op
    relogin: Op
    old_probe: Op
    probe: Op
    kept: Op
    deleted: Op
    ended_probe: Op


def simulate(script: list[int]) -> tuple[list[Op], Tail]:
    """A correct history: two sessions, overlapping requests and unknown outcomes, then the tail."""
    world = Simulation()
    for session in ("a", "b"):
        world.do(Kind.LOGIN, session, cookie=f"cookie-{session}")
    for number in script:
        _step(world, number)
    while world.in_flight:
        world.answer(world.in_flight[0])
    return world.ops, _tail(world)


STEPS: tuple[tuple[Kind, str | None], ...] = (
    (Kind.READ, None),
    (Kind.VISIT, None),
    (Kind.VISIT, None),
    (Kind.GET, "k"),
    (Kind.ADD, "k"),
)


def _step(world: Simulation, number: int) -> None:
    choice, rest = number % 11, number // 11
    if choice < 5 or not world.in_flight:
        kind, key = STEPS[choice % 5]
        world.invoke(kind, "ab"[rest % 2], key=key)
        return
    op = world.in_flight[rest % len(world.in_flight)]
    if choice == 5:
        world.take_effect(op)
    elif choice == 6 and op.kind in RAISES:
        world.answer(op, Outcome.UNKNOWN)
    elif choice == 7 and op.kind is Kind.ADD and op.value is None:
        world.answer(op, Outcome.CONFLICT)
    elif choice == 8 and rest % 5 == 0:
        world.invoke(Kind.DELETE, "ab"[rest % 2], key="k")
    else:
        world.answer(op)


def _tail(world: Simulation) -> Tail:
    visits = [world.do(Kind.VISIT, "a")]
    reads = [world.do(Kind.READ, "a")]
    visits.append(world.do(Kind.VISIT, "a"))
    reads += [world.do(Kind.READ, "a"), world.do(Kind.READ, "a")]
    kept, deleted = _tail_of_fields(world)
    ended_probe = _tail_of_devices(world)
    relogin = world.do(Kind.LOGIN, "c", cookie="cookie-c", replaces="a")
    old_probe = world.do(Kind.PROBE, "a", Outcome.DENIED)
    late = world.invoke(Kind.VISIT, "c")
    world.do(Kind.LOGOUT, "c")
    world.answer(late, Outcome.DENIED)
    probe = world.do(Kind.PROBE, "c", Outcome.DENIED)
    return Tail(
        visits[0],
        reads[0],
        visits[1],
        reads[1],
        reads[2],
        relogin,
        old_probe,
        probe,
        kept,
        deleted,
        ended_probe,
    )


def _tail_of_fields(world: Simulation) -> tuple[Op, Op]:
    """Two fields, of which one is deleted; returns the reads of both."""
    for key in ("kept", "gone"):
        world.do(Kind.PUT, "a", key=key)
    world.do(Kind.DELETE, "a", key="gone")
    return world.do(Kind.GET, "a", key="kept"), world.do(Kind.GET, "a", key="gone")


def _tail_of_devices(world: Simulation) -> Op:
    """A session that another one ends; returns what is asked of it afterwards."""
    world.do(Kind.LOGIN, "d", cookie="cookie-d")
    world.do(Kind.END, "a", ends=("d",))
    return world.do(Kind.PROBE, "d", Outcome.DENIED)


def overwrite_a_visit(tail: Tail) -> None:
    """Falsify: two visits are given one position, as by a blind write."""
    tail.second_visit.value = tail.first_visit.value


def replay(ops: list[Op], checker: Checker | None = None) -> Report:
    """Feed a finished history to the online checker in the order of the clock."""
    checker = checker or Checker(LIMITS)
    events: list[tuple[int, Callable[[Op], None], Op]] = []
    for op in ops:
        begun = replace(op, outcome=Outcome.UNKNOWN, value=None, seen=None)
        events.append((op.invoked, checker.invoke, begun))
        events.append((op.returned, checker.complete, op))
    for _, act, op in sorted(events, key=lambda event: event[0]):
        act(op)
    return checker.finish()


def broken(report: Report) -> set[str]:
    """The names of the invariants that a report says are broken."""
    return {str(name) for name, tally in report.tallies.items() if tally.violations}
