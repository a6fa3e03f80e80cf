"""Judges a stored run: every promise of the load test, what failovers may lose, and the limits of each fault."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.nemesis.availability import Measured, measure
from lab.nemesis.losses import Lost, without_losses
from lab.nemesis.phases import Phase, Run, read_run
from loadtest.check.history import lifetimes_of, read_header, read_ops
from loadtest.check.offline import check
from loadtest.check.online import Checker, replay
from loadtest.check.op import Invariant, Lifetimes, Op
from loadtest.check.tally import Report, Witness, explain
from loadtest.verdict.suspects import crossing

LIMITS = Path(__file__).with_name("limits.toml")
LEAST_REQUESTS = 50  # of a fault: fewer prove nothing


@dataclass(frozen=True)
class Violation:
    """A broken promise, and the fault under which it was."""

    invariant: Invariant
    witness: Witness
    fault: str


@dataclass
class Judgement:
    """What a run has shown.  `settled` is the history without what failovers may lose; `report` is about that."""

    run: Run
    ops: list[Op]
    settled: list[Op]
    lifetimes: Lifetimes
    report: Report
    violations: list[Violation]
    lost: Lost
    measured: list[tuple[Phase, Measured]]
    missed: list[str] = field(default_factory=list)  # limits, in sentences
    doubts: list[str] = field(default_factory=list)  # why the run proves nothing

    @property
    def passed(self) -> bool:
        return not (self.violations or self.missed or self.doubts)

    def sentences(self) -> list[str]:
        """What is wrong, violations first; each names its fault, and the last line what repeats it.

        A worker is named when the wrong answers are one worker's.
        """
        counted = Counter((one.fault, one.invariant) for one in self.violations)
        found = [
            f"{fault}: {name!s} is broken {count} times" for (fault, name), count in counted.items()
        ]
        found += [*crossing(self.settled, self.report).named(), *self.missed, *self.doubts]
        return [*found, f"Once more: {self.run.again}"] if found else []


def judge(folder: Path, limits: Path = LIMITS) -> Judgement:
    """OSError, ValueError, KeyError or TypeError: the folder holds no whole run."""
    run, history = read_run(folder), folder / "history.jsonl"
    lifetimes, stored = lifetimes_of(read_header(history)), list(read_ops(history))
    ops, lost = without_losses(stored, run.phases, run.acknowledged_by)
    report, online, violations = check(ops, lifetimes), *replayed(ops, lifetimes, run.during)
    measured = [(phase, measure(stored, phase, run.edges)) for phase in run.phases]
    found = Judgement(run, stored, ops, lifetimes, report, violations, lost, measured)
    found.missed = list(missed(measured, tomllib.loads(limits.read_text(encoding="utf-8"))))
    found.doubts = list(_doubts(run, report, online, measured))
    return found


def replayed(
    ops: Sequence[Op], lifetimes: Lifetimes, fault_of: Callable[[int], str]
) -> tuple[Report, list[Violation]]:
    """What the online checker finds when everything happens again in the order of the clock."""
    found: list[Violation] = []

    def note(invariant: Invariant, witness: Witness) -> None:
        found.append(Violation(invariant, witness, fault_of(witness.ops[-1].invoked)))

    checker = Checker(lifetimes, note)
    for _ in replay(ops, checker):
        pass
    return checker.finish(), found


def missed(
    measured: Sequence[tuple[Phase, Measured]], limits: Mapping[str, Mapping[str, float]]
) -> Iterable[str]:
    """Each limit that a fault has missed, in a sentence."""
    for phase, figures in measured:
        allowed = limits[phase.fault]
        pairs = (
            (figures.failed_share, allowed["failed_share"], "{:.1%} of the requests failed, {:.1%} may"),
            (figures.silent_seconds, allowed["silent_seconds"], "{:.1f} s without a success through an edge, {:g} s may be"),
            (figures.back, allowed["back_seconds"], "{:.1f} s from the healing to full service, {:g} s may be"),
        )  # fmt: skip
        if not phase.excuse:
            yield from (
                f"{phase.fault}: {text.format(*pair)}" for *pair, text in pairs if pair[0] > pair[1]
            )
        yield from (f"{phase.fault}: not whole again: {problem}" for problem in phase.problems)


def _doubts(
    run: Run, report: Report, online: Report, measured: Sequence[tuple[Phase, Measured]]
) -> Iterable[str]:
    if not run.phases:
        yield "no fault has happened"
    if report.counts() != online.counts():
        yield "the two checkers do not agree"
    for phase, figures in measured:
        if figures.requests < LEAST_REQUESTS:
            yield f"{phase.fault}: only {figures.requests} requests"


def proof(violation: Violation) -> str:
    """The requests that prove it."""
    return "\n".join([f"{violation.fault}: {violation.invariant!s}", *explain(violation.witness)])
