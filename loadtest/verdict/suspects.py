"""Which worker is to blame: for wrong answers, for failures, for being slow."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import exp, lgamma, log
from statistics import fmean, median

from loadtest.check.op import Kind, Op, Outcome
from loadtest.check.tally import Report

SLICES = 16  # of a run: a worker is slow when it is in nearly all of them
EXCEPTIONS = 1  # slices in which it may not be
LEAST_ANSWERS = 10  # of each worker and slice, or nothing can be told
# The shares of all requests that are called slowest. In the larger one a worker that is slow now and then shows in a
# short run; in the smaller one it shows although a busy machine makes others wait now and then, for less long.
SLOWEST = (0.02, 0.01)
LEAST_SESSIONS = 8  # with wrong answers before anybody is named
CONCENTRATED = 0.85  # the share of them that one worker must have
ESTRANGED = 0.3  # the share of answers across one worker and the others that must be wrong ...
CLEARER = 3  # ... and how many times the share of all other answers
Pair = tuple[str, str]


@dataclass(slots=True)
class Crossing:
    """Answers by the worker that a session logged in at, and the worker that was asked."""

    answers: Counter[Pair] = field(default_factory=Counter)
    wrong: Counter[Pair] = field(default_factory=Counter)
    # That had a wrong answer, and where.
    sessions: set[tuple[str, Pair]] = field(default_factory=set)

    @property
    def workers(self) -> list[str]:
        """All that answered, in order of their names."""
        return sorted({name for pair in self.answers for name in pair})

    def named(self) -> list[str]:
        """One sentence when the wrong answers are those of one worker; empty when they are not."""
        wrong = Counter(pair for _, pair in self.sessions)
        total = wrong.total()
        if total < LEAST_SESSIONS or len(self.workers) < 3:
            return []
        for name in self.workers:
            asked = sum(n for (home, at), n in wrong.items() if at == name != home)
            begun = sum(n for (home, at), n in wrong.items() if home == name != at)
            if min(asked, begun) >= 2 and self._is_estranged(name):
                return [
                    f"{name} and the others do not know each other's sessions:"
                    " has it another key, another database or other code?"
                ]
            if asked + wrong[name, name] >= CONCENTRATED * total:
                return [f"nearly all wrong answers, {self.given(name):,}, were given by {name}"]
            if begun + wrong[name, name] >= CONCENTRATED * total:
                return [f"nearly all wrong answers are about sessions that logged in at {name}"]
        return []

    def _is_estranged(self, name: str) -> bool:
        """Whether most is wrong that this worker and the others are asked about each other's sessions."""
        across = [pair for pair in self.answers if (pair[0] == name) != (pair[1] == name)]
        rest = [pair for pair in self.answers if pair not in across]
        wrong, elsewhere = (
            sum(self.wrong[pair] for pair in pairs)
            / max(1, sum(self.answers[pair] for pair in pairs))
            for pairs in (across, rest)
        )
        return wrong >= max(ESTRANGED, CLEARER * elsewhere)

    def given(self, name: str) -> int:
        """Wrong answers of this worker."""
        return sum(n for (_, asked), n in self.wrong.items() if asked == name)


def crossing(ops: Iterable[Op], report: Report) -> Crossing:
    """Count answers and violations by who created the session and who was asked."""
    ops = list(ops)
    home = {
        op.session: op.worker or ""
        for op in ops
        if op.kind is Kind.LOGIN and op.outcome is Outcome.OK
    }
    found = Crossing()
    for op in ops:
        if op.worker and op.session in home:
            found.answers[home[op.session], op.worker] += 1
    for op in report.wrong.values():
        if op.worker and home.get(op.session):
            found.wrong[home[op.session], op.worker] += 1
            found.sessions.add((op.session, (home[op.session], op.worker)))
    return found


def failing(ops: Iterable[Op], chance: float) -> list[str]:
    """Workers that failed so much more often than the others that chance is less likely than `chance`."""
    answered: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for op in ops:
        if op.worker:
            answered[op.worker] += 1
            failed[op.worker] += op.outcome in (Outcome.FAIL, Outcome.UNKNOWN)
    total, all_failed = answered.total(), failed.total()
    return [
        f"{name} failed {failed[name]:,} of {count:,} requests, the others"
        f" {all_failed - failed[name]:,} of {total - count:,}"
        for name, count in sorted(answered.items())
        if len(answered) > 1 and _tail(failed[name], all_failed, count / total) < chance
    ]


def slower(ops: Sequence[Op], milliseconds: float, share: float, slowest_share: float) -> list[str]:
    """Workers that were slower than the others all the time, on the whole or in their slowest answers."""
    timed = [op for op in ops if op.worker and op.status and op.kind is not Kind.SLOW]
    answered = Counter(op.worker for op in timed)
    if len(answered) < 2 or min(answered.values()) < SLICES * LEAST_ANSWERS:
        return []
    usual = _medians(timed)
    begin, end = min(op.invoked for op in timed), max(op.invoked for op in timed) + 1
    slices: list[defaultdict[str, list[float]]] = [defaultdict(list) for _ in range(SLICES)]
    for op in timed:
        late = (op.returned - op.invoked - usual[op.kind]) / 1e6
        slices[(op.invoked - begin) * SLICES // (end - begin)][op.worker or ""].append(late)
    least = max(milliseconds, share * median(usual[op.kind] for op in timed) / 1e6)
    everyone = sorted(late for times in slices for own in times.values() for late in own)
    borders = [everyone[int(len(everyone) * (1 - part))] for part in SLOWEST]
    found = []
    for name in sorted({op.worker or "" for op in timed}):
        excess = [_excess(times, name) for times in slices if len(times) > 1 and name in times]
        held = sum(one > 0 for one in excess) >= SLICES - EXCEPTIONS
        if held and median(excess) >= least:
            found.append(f"{name} answered {median(excess):,.0f} ms later than the others")
        elif any(_has_the_slowest(slices, name, one, slowest_share) for one in borders):
            found.append(f"{name} gave nearly all of the slowest answers")
    return found


def _medians(ops: Iterable[Op]) -> dict[Kind, float]:
    times: defaultdict[Kind, list[int]] = defaultdict(list)
    for op in ops:
        times[op.kind].append(op.returned - op.invoked)
    return {kind: median(own) for kind, own in times.items()}


def _excess(times: dict[str, list[float]], name: str) -> float:
    others = [late for other, own in times.items() if other != name for late in own]
    return fmean(times[name]) - fmean(others)


def _has_the_slowest(
    slices: Iterable[dict[str, list[float]]], name: str, border: float, share: float
) -> bool:
    """Whether most of the slowest answers of nearly every slice are those of one worker."""
    owned, total, slices_owned = 0, 0, 0
    for times in slices:
        own = sum(late > border for late in times.get(name, ()))
        everyone = sum(late > border for each in times.values() for late in each)
        owned, total = owned + own, total + everyone
        slices_owned += own > everyone / 2
    return slices_owned >= SLICES - EXCEPTIONS and owned >= share * total


def _tail(failures: int, of: int, share: float) -> float:
    """How likely chance gives one worker so many of all failures, or more."""
    if not failures:
        return 1.0
    whole = lgamma(of + 1)
    terms = (
        exp(whole - lgamma(n + 1) - lgamma(of - n + 1) + n * log(share) + (of - n) * log(1 - share))
        for n in range(failures, of + 1)
    )
    return sum(terms)
