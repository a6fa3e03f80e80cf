"""Makes correct histories from a script of numbers, and the tail that all of them end in."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from loadtest.check.online import Checker
from loadtest.check.op import RAISES, SHOWS, Kind, Lifetimes, Op, Outcome, ended_sessions
from loadtest.check.tally import Report

LIMITS = Lifetimes(idle_seconds=60, absolute_seconds=600, touch_seconds=3)
SECOND = 10**9
SHOWS_ALL = (Kind.READ, Kind.PAGE, Kind.PROBE)  # these show the lifetimes, too


@dataclass
class Simulation:
    """One correct session store, its clients, and a clock that moves 1 ms with every event."""

    ops: list[Op] = field(default_factory=list)
    now: int = 0
    count: dict[tuple[str, str | None], int] = field(default_factory=dict)
    version: dict[str, int] = field(default_factory=dict)
    born: dict[str, int] = field(default_factory=dict)  # by session, when its login took effect
    in_flight: list[Op] = field(default_factory=list)
    done: list[Op] = field(default_factory=list)  # what took effect, and has no count to show it
    counted: dict[str, int] = field(default_factory=dict)  # by operation id

    def tick(self) -> int:
        """The next moment."""
        self.now += SECOND // 1000
        return self.now

    def invoke(self, kind: Kind, session: str, **more: Any) -> Op:
        """Send a request."""
        user = more.pop("user", f"user-{session}")
        op = Op(len(self.ops), kind, session, user, self.tick(), **more)
        self.ops.append(op)
        self.in_flight.append(op)
        return op

    def take_effect(self, op: Op) -> None:
        """The moment at which the store serves it; once only."""
        name = (op.session, op.key)
        if op.value is None and (op.kind in RAISES or op.kind in SHOWS):
            if op.op in self.counted:
                op.value = self.counted[op.op]
                return
            self.count[name] = self.count.get(name, 0) + (op.kind in RAISES)
            op.value = self.count[name]
            if op.op:
                self.counted[op.op] = op.value
            self._write(op)
        elif op.kind is Kind.DELETE and op not in self.done:
            self.count[name] = 0
            self.done.append(op)
            self._write(op)
        elif op.kind is Kind.LOGIN:
            self.born.setdefault(op.session, self.now)

    def _write(self, op: Op) -> None:
        changed = op.kind in RAISES or op.kind is Kind.DELETE
        self.version[op.session] = self.version.get(op.session, 1) + changed
        if op.kind not in (Kind.VISIT, Kind.REPEAT, Kind.DELETE):
            op.version = self.version[op.session]

    def answer(self, op: Op, outcome: Outcome = Outcome.OK) -> Op:
        """Let the answer arrive; an unknown outcome arrives without one."""
        op.returned, op.outcome = self.tick(), outcome
        self.in_flight.remove(op)
        op.status = 200 if outcome is Outcome.OK else 0
        if outcome is Outcome.OK:
            self.take_effect(op)
            self._fill(op)
        else:
            op.value = op.version = None
        return op

    def _fill(self, op: Op) -> None:
        """What the answer says besides."""
        op.seen = op.user
        if op.kind in SHOWS_ALL:
            op.idle = 59.0
            op.absolute = 600 - (op.returned - self.born.get(op.session, op.returned)) / SECOND
        if op.kind is Kind.PUT:
            op.got = op.sent
        elif op.kind is Kind.GET and op.value:
            op.got = f'"{op.value}"'
        if op.session in ended_sessions(op) and op.kind is not Kind.LOGIN:
            op.cleared = True

    def do(self, kind: Kind, session: str, outcome: Outcome = Outcome.OK, **more: Any) -> Op:
        """A request with nothing beside it."""
        return self.answer(self.invoke(kind, session, **more), outcome)


Tail = dict[str, Op]  # the requests that every history ends in, by what each is falsified for


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
    (Kind.PAGE, None),
    (Kind.COUNT, "k"),
    (Kind.ADD, "k"),
    (Kind.VISIT, None),
)


def _step(world: Simulation, number: int) -> None:
    choice, rest = number % 13, number // 13
    if choice < 6 or not world.in_flight:
        kind, key = STEPS[choice % 6]
        name = f"op-{len(world.ops)}" if kind is Kind.VISIT else None
        world.invoke(kind, "ab"[rest % 2], key=key, op=name)
        return
    op = world.in_flight[rest % len(world.in_flight)]
    if choice == 6:
        world.take_effect(op)
    elif choice == 7 and op.kind in RAISES:
        world.answer(op, Outcome.UNKNOWN)
    elif choice == 8 and op.kind is Kind.ADD and op.value is None:
        world.answer(op, Outcome.CONFLICT)
    elif choice == 9 and rest % 5 == 0:
        world.invoke(Kind.DELETE, "ab"[rest % 2], key="k")
    elif choice in (10, 11):
        sent = [op for op in world.ops if op.kind is Kind.VISIT]
        if sent:
            again = sent[rest % len(sent)]
            world.invoke(Kind.REPEAT, again.session, op=again.op)
    else:
        world.answer(op)


def _tail(world: Simulation) -> Tail:
    tail: Tail = {}
    tail["first visit"] = world.do(Kind.VISIT, "a", op="v1")
    tail["first read"] = world.do(Kind.READ, "a")
    tail["second visit"] = world.do(Kind.VISIT, "a", op="v2")
    tail["second read"] = world.do(Kind.READ, "a")
    tail["last read"] = world.do(Kind.READ, "a")
    tail["renewal"] = world.do(Kind.READ, "a", cookie="cookie-a2")
    tail["repeat"] = world.do(Kind.REPEAT, "a", op="v2")
    tail["page"] = world.do(Kind.PAGE, "a")
    _tail_of_fields(world, tail)
    _tail_of_devices(world, tail)
    tail["relogin"] = world.do(Kind.LOGIN, "c", cookie="cookie-c", replaces="a")
    tail["old probe"] = world.do(Kind.PROBE, "a", Outcome.DENIED)
    late = world.invoke(Kind.VISIT, "c", op="late")
    tail["logout"] = world.do(Kind.LOGOUT, "c")
    world.answer(late, Outcome.DENIED)
    tail["probe"] = world.do(Kind.PROBE, "c", Outcome.DENIED)
    tail["wrong"] = world.do(Kind.WRONG, "x", Outcome.DENIED, user="user-b")
    tail["stranger"] = world.do(Kind.STRANGER, "y", Outcome.DENIED)
    world.now += 70 * SECOND
    tail["rested"] = world.do(Kind.PROBE, "b", Outcome.DENIED)
    return tail


def _tail_of_fields(world: Simulation, tail: Tail) -> None:
    """Three fields, of which one is deleted."""
    for key in ("kept", "gone"):
        world.do(Kind.PUT, "a", key=key, sent='"1"')
    tail["put"] = world.do(Kind.PUT, "a", key="kept", sent='"2"')
    world.do(Kind.DELETE, "a", key="gone")
    tail["kept"] = world.do(Kind.GET, "a", key="kept")
    tail["deleted"] = world.do(Kind.GET, "a", key="gone")


def _tail_of_devices(world: Simulation, tail: Tail) -> None:
    """Sessions of one user: listed, ended by another one, and by a login over the cap."""
    for name in ("d1", "d2", "d3"):
        world.do(Kind.LOGIN, name, user="many", cookie=f"cookie-{name}")
    for name in ("d1", "d2"):
        refs = ("r1", "r2", "r3")
        ref = f"r{name[1]}"
        tail["list"] = world.do(Kind.DEVICES, name, user="many", refs=refs, ref=ref, named=ref)
    world.do(Kind.END, "d1", user="many", ends=("d2",))
    tail["ended probe"] = world.do(Kind.PROBE, "d2", Outcome.DENIED, user="many")
    refs = ("r1", "r3")
    tail["shorter list"] = world.do(
        Kind.DEVICES, "d1", user="many", refs=refs, ref="r1", named="r1"
    )
    world.do(Kind.LOGIN, "d4", user="many", cookie="cookie-d4", ends=("d1",))
    tail["oldest"] = world.do(Kind.PROBE, "d1", Outcome.DENIED, user="many")


def overwrite_a_visit(tail: Tail) -> None:
    """Falsify: two visits are given one position, as by a blind write."""
    tail["second visit"].value = tail["first visit"].value


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
