"""Makes correct histories from a script of numbers, and the tail that all of them end in."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from loadtest.model import Checker
from loadtest.operations import Kind, Lifetimes, Op, Outcome
from loadtest.tally import Report

LIMITS = Lifetimes(idle_seconds=60, absolute_seconds=600)
SECOND = 10**9


@dataclass
class Simulation:
    """One correct session store, its clients, and a clock that moves 1 ms with every event."""

    ops: list[Op] = field(default_factory=list)
    now: int = 0
    count: dict[str, int] = field(default_factory=dict)
    in_flight: list[Op] = field(default_factory=list)

    def tick(self) -> int:
        """The next moment."""
        self.now += SECOND // 1000
        return self.now

    def invoke(self, kind: Kind, session: str, **more: str) -> Op:
        """Send a request."""
        op = Op(len(self.ops), kind, session, f"user-{session}", self.tick(), **more)
        self.ops.append(op)
        self.in_flight.append(op)
        return op

    def take_effect(self, op: Op) -> None:
        """The moment at which the store serves it; once only."""
        if op.value is None and op.kind in (Kind.VISIT, Kind.READ):
            step = op.kind is Kind.VISIT
            self.count[op.session] = self.count.get(op.session, 0) + step
            op.value = self.count[op.session]

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

    def do(self, kind: Kind, session: str, outcome: Outcome = Outcome.OK, **more: str) -> Op:
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


def _step(world: Simulation, number: int) -> None:
    choice, rest = number % 8, number // 8
    if choice < 4 or not world.in_flight:
        kind = Kind.VISIT if choice % 2 else Kind.READ
        world.invoke(kind, "ab"[rest % 2])
        return
    op = world.in_flight[rest % len(world.in_flight)]
    if choice == 4:
        world.take_effect(op)
    elif choice == 5 and op.kind is Kind.VISIT:
        world.answer(op, Outcome.UNKNOWN)
    else:
        world.answer(op)


def _tail(world: Simulation) -> Tail:
    visits = [world.do(Kind.VISIT, "a")]
    reads = [world.do(Kind.READ, "a")]
    visits.append(world.do(Kind.VISIT, "a"))
    reads += [world.do(Kind.READ, "a"), world.do(Kind.READ, "a")]
    relogin = world.do(Kind.LOGIN, "c", cookie="cookie-c", replaces="a")
    old_probe = world.do(Kind.PROBE, "a", Outcome.DENIED)
    late = world.invoke(Kind.VISIT, "c")
    world.do(Kind.LOGOUT, "c")
    world.answer(late, Outcome.DENIED)
    probe = world.do(Kind.PROBE, "c", Outcome.DENIED)
    return Tail(visits[0], reads[0], visits[1], reads[1], reads[2], relogin, old_probe, probe)


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
