"""The offline checker: judges a stored history again, by other means than the online one.

    python -m loadtest.check.offline FILE

Where the online checker walks through time, this one sorts each session's requests and looks backwards
by bisection. They share the records, the tally, and those rules that judge one answer by itself once
it is known who logged in when; what had been acknowledged by then, each works out in its own way.
Exit codes: 0 every promise held, 10 one was broken, 13 the file holds nothing to judge.
"""

import gc
import sys
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path

from loadtest.check import rules
from loadtest.check.history import lifetimes_of, read_header, read_ops
from loadtest.check.op import (
    RAISES,
    SHOWS,
    Invariant,
    Kind,
    Lifetimes,
    Op,
    Outcome,
    ended_sessions,
    promise_of,
)
from loadtest.check.rules import Listing, Seen, higher, value_of
from loadtest.check.tally import Report, Witness, explain
from loadtest.progress import never_silent

FOREVER = 1 << 63
Size = Callable[[Op], int]


class Highest:
    """Answers "which request that returned before t had the highest figure?"; of equals, the first."""

    def __init__(self, ops: Iterable[Op], size: Size = value_of) -> None:
        ordered = sorted(ops, key=lambda op: op.returned)
        self._times = [op.returned for op in ordered]

        def better(one: Op, other: Op) -> Op:
            return other if size(other) > size(one) else one

        self._best = list(accumulate(ordered, better))

    def before(self, time: int) -> Op | None:
        """The request with the highest figure among those that returned before `time`."""
        index = bisect_left(self._times, time)
        return self._best[index - 1] if index else None

    def count_before(self, time: int) -> int:
        """How many returned before `time`."""
        return bisect_left(self._times, time)


@dataclass(slots=True)
class Session:
    """What a history says about one session."""

    ops: list[Op] = field(default_factory=list)  # in the order they returned, once it is settled
    enders: list[Op] = field(default_factory=list)
    login: Op | None = None
    over: Op | None = None  # the first acknowledged end
    threatened: int = FOREVER  # when the first request was sent that may have ended it
    named: Op | None = None  # the first list that told this session's ref
    used: Highest = field(default_factory=lambda: Highest(()))
    begun: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)

    def settle(self) -> None:
        """Call it when all requests are there."""
        self.ops.sort(key=lambda op: op.returned)
        acknowledged = [op for op in self.ops if op.outcome is Outcome.OK]
        self.login = next((op for op in acknowledged if op.kind is Kind.LOGIN), None)
        self.named = next((op for op in acknowledged if op.ref and op.ref in (op.refs or ())), None)
        done = (op for op in self.enders if op.outcome is Outcome.OK)
        self.over = min(done, key=lambda op: op.returned, default=None)
        self.threatened = min((op.invoked for op in self.enders), default=FOREVER)
        self.used = Highest(acknowledged, lambda op: op.invoked)
        self.begun = sorted(op.invoked for op in self.ops)
        self.ended = [op.returned for op in self.ops]

    def seen_by(self, op: Op, lifetimes: Lifetimes) -> Seen:
        """Who logged in, who may have ended it, and when it was used last, as far as `op` can know."""
        login = self.login if self.login and self.login.returned < op.invoked else None
        used = self.used.before(op.invoked)
        done = bisect_left(self.ended, op.invoked)
        alone = bisect_left(self.begun, op.invoked) == done
        return Seen(
            lifetimes,
            login=login,
            used=used.invoked if used else 0,
            touched=(self.ended[done - 1] if done else 0) if alone else None,
            ending=any(one.invoked < op.returned for one in self.enders if one is not op),
        )

    def is_over(self, time: int) -> bool:
        """Whether it had surely been ended before `time`."""
        return self.over is not None and self.over.returned < time

    def ref(self, time: int) -> str | None:
        """Its name in lists, if one had told it before `time`."""
        return self.named.ref if self.named and self.named.returned < time else None


def check(ops: Iterable[Op], lifetimes: Lifetimes) -> Report:
    """Check a whole history."""
    report = Report()
    sessions: defaultdict[str, Session] = defaultdict(Session)
    users: defaultdict[str, list[Op]] = defaultdict(list)
    for op in ops:
        sessions[op.session].ops.append(op)
        for ended in ended_sessions(op):
            sessions[ended].enders.append(op)
        if op.kind is Kind.LOGIN:
            users[op.user].append(op)
    for session in sessions.values():
        session.settle()
    _check_cookies(report, sessions.values())
    for name, session in sessions.items():
        _check_answers(report, session, lifetimes)
        _check_versions(report, session)
        for of_one_counter in _by_counter(session.ops):
            _check_counter(report, of_one_counter)
        _check_over(report, name, session)
        for op in session.ops:
            if op.kind is Kind.DEVICES:
                mine = [(login, sessions[login.session]) for login in users[op.user]]
                listing = _listing(op, session, mine, lifetimes)
                report.note(
                    Invariant.DEVICE_LIST, rules.device_list(op, Seen(lifetimes, listing=listing))
                )
    return report


def _check_cookies(report: Report, sessions: Iterable[Session]) -> None:
    """A login is given what nobody had before; whatever else brings a cookie, brings one's own."""
    given: dict[str, Op] = {}
    brought = [
        op
        for session in sessions
        for op in session.ops
        if op.cookie or (op.kind is Kind.LOGIN and op.outcome is Outcome.OK)
    ]
    for op in sorted(brought, key=lambda op: op.returned):
        first = given.get(op.cookie or "")
        both = (first, op) if first else (op,)
        if op.kind is not Kind.LOGIN:
            own = first is None or first.session == op.session
            report.expect(Invariant.IDENTITY, own, both, rules.OWN_COOKIE)
        elif op.outcome is Outcome.OK:
            report.expect(Invariant.NEW_ID_AT_LOGIN, first is None, both, rules.NEW_COOKIE)
        if op.cookie:
            given.setdefault(op.cookie, op)


# The rules that judge one answer by itself.
ALONE = frozenset(
    (
        *(rules.identity, rules.no_phantom_logout, rules.cookie_when_due),
        *(rules.logout_clears_cookie, rules.lifetime, rules.idle_moves),
        *(rules.timeout_ends, rules.wrong_password, rules.no_stranger),
    )
)
ALONE_OF = {
    kind: tuple((invariant, rule) for invariant, rule in found if rule in ALONE)
    for kind, found in rules.RULES_OF.items()
}


def _check_answers(report: Report, session: Session, lifetimes: Lifetimes) -> None:
    for op in session.ops:
        seen = session.seen_by(op, lifetimes)
        for invariant, rule in ALONE_OF[op.kind]:
            report.note(invariant, rule(op, seen))


def _check_versions(report: Report, session: Session) -> None:
    told = [op for op in session.ops if op.version is not None and op.outcome is Outcome.OK]
    if not told:
        return
    versions = Highest(told, lambda op: op.version or 0)
    raises, _ = _operations([op for op in session.ops if op.kind in RAISES])
    writes = Highest((op for op in raises if op.outcome is Outcome.OK), lambda op: op.invoked)
    for op in told:
        before = versions.before(op.invoked)
        if before is None or op.kind not in RAISES | SHOWS:
            continue
        wrote = writes.before(op.invoked)
        grown = op.kind in RAISES or (wrote is not None and wrote.invoked > before.returned)
        least = (before.version or 0) + grown
        right = (op.version or 0) >= least
        report.expect(Invariant.VERSION_GROWS, right, (before, op), f"{least} or higher")


def _by_counter(ops: list[Op]) -> Iterable[list[Op]]:
    """The requests of a session that concern one counter: its visits, or one field."""
    counters: defaultdict[str | None, list[Op]] = defaultdict(list)
    for op in ops:
        if op.kind in RAISES or op.kind in SHOWS or op.kind is Kind.DELETE:
            counters[op.key].append(op)
    return counters.values()


@dataclass(slots=True)
class Sends:
    """Moments of the requests for raises, each until it or the first acknowledgement came."""

    begun: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)  # when a raise became unknown
    settled: list[int] = field(default_factory=list)  # when one that was so was answered

    def quiet(self, op: Op) -> bool:
        """Whether none was in flight at any time while `op` ran."""
        return bisect_left(self.begun, op.returned) == bisect_right(self.ended, op.invoked)

    def unknown_before(self, time: int) -> int:
        """How many raises may or may not have happened by then."""
        return bisect_left(self.lost, time) - bisect_left(self.settled, time)


def _operations(sent: list[Op]) -> tuple[list[Op], Sends]:
    """Each raise once, from when it was first sent until it was first acknowledged, and all requests for it."""
    attempts: defaultdict[str | int, list[Op]] = defaultdict(list)
    for op in sent:
        attempts[op.op or op.number].append(op)
    whole, sends = [], Sends()
    for same in attempts.values():
        first = min(op.invoked for op in same)
        acked = next((op for op in same if op.outcome is Outcome.OK), None)  # they are in order
        lost = next((op for op in same if op.outcome is Outcome.UNKNOWN), None)
        over = acked.returned if acked else FOREVER
        open_ones = [op for op in same if op.invoked < over]
        sends.begun += [op.invoked for op in open_ones]
        sends.ended += [min(op.returned, over) for op in open_ones]
        if lost and lost.returned < over:
            sends.lost.append(lost.returned)
            sends.settled += [over] if acked else []
        one = acked or lost or same[0]
        whole.append(one if one.invoked == first else replace(one, invoked=first))
    for moments in (sends.begun, sends.ended, sends.lost, sends.settled):
        moments.sort()
    return whole, sends


def _check_counter(report: Report, ops: list[Op]) -> None:
    deletes = [op for op in ops if op.kind is Kind.DELETE]
    sent = [op for op in ops if op.kind in RAISES]
    raises, sends = _operations(sent)
    _check_repeats(report, sent)
    _check_values(report, ops)
    _check_delete(report, ops, raises, deletes)
    gone = min((op.invoked for op in deletes), default=FOREVER)
    sure = [op for op in raises if op.outcome is Outcome.OK and op.value is not None]
    acked = [op for op in sure if op.returned <= gone]
    reads = [
        op
        for op in ops
        if op.kind in SHOWS and op.outcome is Outcome.OK and op.value is not None
        if op.returned <= gone
    ]
    # What was acknowledged after a delete had begun may stand behind a count that was seen before.
    late = [op for op in raises if op.outcome is Outcome.OK and op.returned > gone]
    unknown = [op for op in raises if op.outcome is Outcome.UNKNOWN]
    writes, seen = Highest(acked), Highest(reads)
    broken = _check_order(report, acked, reads, writes, seen)
    broken = _check_positions(report, acked) or broken
    _check_amount(report, raises, acked, reads, sends)
    if acked or reads or unknown or late:
        gap = _unfillable(acked, reads, [*unknown, *late])
        report.note(Invariant.LINEARIZABLE_COUNTER, Witness(broken or gap, rules.ONE_ORDER))


def _check_repeats(report: Report, sent: list[Op]) -> None:
    """The same operation again gets the first answer again."""
    first: dict[str, Op] = {}
    for op in sent:
        if op.op is None or op.outcome is not Outcome.OK or op.value is None:
            continue
        before = first.setdefault(op.op, op)
        if before is not op:
            right, value = before.value == op.value, str(before.value)
            report.expect(Invariant.REPEAT_COUNTS_ONCE, right, (before, op), value)


def _check_values(report: Report, ops: list[Op]) -> None:
    """A field holds what was written into it, and has the position of that write."""
    puts = sorted((op for op in ops if op.kind is Kind.PUT), key=lambda op: op.invoked)
    places = {op.sent: (place, op.invoked) for place, op in reversed([*enumerate(puts, start=1)])}
    for op in ops:
        if op.got is None or op.outcome is not Outcome.OK:
            continue
        possible = op.sent or ""
        if op.kind is Kind.PUT:
            right = op.got == op.sent
        else:
            place, begun = places.get(op.got, (None, 0))
            right = place is not None and place == op.value and begun < op.returned
            possible = rules.WRITTEN
        report.expect(Invariant.VALUE_AS_WRITTEN, right, (op,), possible)


def _check_delete(report: Report, ops: list[Op], raises: list[Op], deletes: list[Op]) -> None:
    done = [op for op in deletes if op.outcome is Outcome.OK]
    if not done:
        return
    first = min(done, key=lambda op: op.returned)
    open_end = [op for op in raises if op.returned >= first.invoked]
    open_end += [op for op in raises if op.outcome is Outcome.UNKNOWN]
    rewritten = min((op.invoked for op in open_end), default=FOREVER)
    for op in ops:
        asked = op.kind in (Kind.GET, Kind.COUNT) and op.outcome is Outcome.OK
        if asked and first.returned < op.invoked and op.returned < rewritten:
            absent = op.value == 0 and op.got is None
            report.expect(Invariant.DELETE_IS_FINAL, absent, (first, op), rules.ABSENT)


def _check_order(
    report: Report, acked: list[Op], reads: list[Op], writes: Highest, seen: Highest
) -> tuple[Op, ...]:
    """The session guarantees; returns what breaks the order in real time, if anything."""
    broken: tuple[Op, ...] = ()

    def note(invariant: Invariant, op: Op, floor: Op | None, step: int = 0) -> None:
        nonlocal broken
        if floor is not None:
            least = value_of(floor) + step
            wrong = (floor, op) if value_of(op) < least else ()
            report.note(invariant, Witness(wrong, f"{least} or more"))
            broken = broken or wrong

    for op in reads:
        write, read = writes.before(op.invoked), seen.before(op.invoked)
        if op.kind is Kind.PAGE:
            note(Invariant.PAGE_IS_FRESH, op, higher(write, read))
        else:
            note(Invariant.READ_YOUR_WRITES, op, write)
            note(Invariant.MONOTONIC_READS, op, read)
        if write is not None:
            possible = f"{value_of(write)} or more"
            report.expect(Invariant.NOTHING_VANISHES, bool(op.value), (write, op), possible)
    for op in acked:
        note(Invariant.MONOTONIC_WRITES, op, writes.before(op.invoked))
        note(Invariant.WRITES_FOLLOW_READS, op, seen.before(op.invoked), 1)
    return broken


def _check_positions(report: Report, acked: list[Op]) -> tuple[Op, ...]:
    """Every acknowledged raise has a position of its own; returns two that share one."""
    owner: dict[int, Op] = {}
    twins: tuple[Op, ...] = ()
    for op in sorted(acked, key=lambda op: op.returned):
        other = owner.setdefault(value_of(op), op)
        pair = () if other is op else (other, op)
        report.note(Invariant.NO_LOST_UPDATE, Witness(pair, "a position of its own"))
        twins = twins or pair
    return twins


def _check_amount(
    report: Report, raises: list[Op], acked: list[Op], reads: list[Op], sends: Sends
) -> None:
    begun = sorted(op.invoked for op in raises)
    acks = sorted(op.returned for op in acked)
    for op in (*reads, *acked):
        least, most = bisect_left(acks, op.invoked), bisect_left(begun, op.returned)
        right = least <= value_of(op) <= most
        report.expect(Invariant.BOUNDS, right, (op,), f"{least} to {most}")
    for op in reads:
        if sends.quiet(op):
            least = bisect_left(acks, op.invoked)
            most = least + sends.unknown_before(op.invoked)
            exact = least <= value_of(op) <= most
            report.expect(Invariant.QUIESCENT_COUNT, exact, (op,), f"{least} to {most}")


def _unfillable(acked: list[Op], reads: list[Op], unknown: list[Op]) -> tuple[Op, ...]:
    """An answer whose count needs more unacknowledged raises than had been sent, if any.

    Hall's condition: up to every count that was seen, the positions nobody acknowledged must
    not outnumber the unknown raises sent before it was seen. And no raise can be the zeroth.
    """
    positions = sorted(value_of(op) for op in acked)
    sent = sorted(op.invoked for op in unknown)
    for op in (*acked, *reads):
        gaps = value_of(op) - bisect_right(positions, value_of(op))
        nowhere = value_of(op) < (op.kind in RAISES)
        if nowhere or gaps > bisect_left(sent, op.returned):
            return (op,)
    return ()


def _check_over(report: Report, name: str, session: Session) -> None:
    """What was ended is over: nothing sent afterwards is answered as logged in."""
    ender = session.over
    if ender is None:
        return
    for op in session.ops:
        if op.kind in rules.ASKS and op.invoked > ender.returned and op.outcome in rules.ANSWERED:
            over = op.outcome is Outcome.DENIED
            report.expect(promise_of(ender, name), over, (ender, op), rules.NOT_LOGGED_IN)


def _listing(op: Op, own: Session, mine: list[tuple[Op, Session]], lifetimes: Lifetimes) -> Listing:
    """What the list `op` must and may contain, of the sessions that this user has begun."""
    begun = [one for login, one in mine if login.invoked < op.returned]
    over = [one for one in begun if one.is_over(op.invoked)]
    maybe = [one for one in begun if not one.is_over(op.invoked)]
    certain = [
        one
        for one in maybe
        if one.login is not None
        and one.login.returned < op.invoked
        and one.threatened >= op.returned
        and rules.surely_alive(op, one.seen_by(op, lifetimes))
    ]
    told = [one.ref(op.returned) for one in begun]
    return Listing(
        must=frozenset(ref for one in certain if (ref := one.ref(op.returned))),
        over=frozenset(ref for one in over if (ref := one.ref(op.returned))),
        known=frozenset(ref for ref in told if ref),
        own=own.ref(op.returned),
        least=len(certain),
        most=len(maybe),
        new=sum(one.ref(op.returned) is None for one in maybe),
    )


def main(arguments: list[str]) -> int:
    """Check the file named on the command line and print the tally of every invariant."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    path = Path(arguments[0])
    gc.disable()  # a million small objects without a cycle: looking for one takes a fifth of the time
    with never_silent("checking the history"):
        report = check(read_ops(path), lifetimes_of(read_header(path)))
    for invariant, tally in report.tallies.items():
        print(f"{invariant:26} {tally.checked:>9,} checked {tally.violations:>7,} broken")
        for line in explain(tally.witness):
            print(f"    {line}")
    if report.violations:
        return 10
    return 0 if report.tallies[Invariant.NO_PHANTOM_LOGOUT].checked else 13


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
