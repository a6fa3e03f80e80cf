"""The tally of every invariant: how often it was checked, how often broken, and the smallest witness."""

from dataclasses import dataclass, field
from typing import NamedTuple

from loadtest.check.op import Invariant, Op


class Witness(NamedTuple):
    """The requests that together break a promise, the wrong answer last, and what it could have been."""

    ops: tuple[Op, ...] = ()
    possible: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """The fewer requests and the shorter the time between them, the easier it is to understand."""
        span = max(op.returned for op in self.ops) - min(op.invoked for op in self.ops)
        return len(self.ops), span


HELD = Witness()
Finding = Witness | None  # None: the rule did not apply; HELD: it held; else it was broken


@dataclass(slots=True)
class Tally:
    """The count of one invariant."""

    checked: int = 0
    violations: int = 0
    witness: Witness = HELD


@dataclass(slots=True)
class Report:
    """All invariants; a fresh report has checked nothing."""

    # By number, each answer that broke any of them.
    wrong: dict[int, Op] = field(default_factory=dict)
    tallies: dict[Invariant, Tally] = field(
        default_factory=lambda: {invariant: Tally() for invariant in Invariant}
    )

    def note(self, invariant: Invariant, finding: Finding) -> bool:
        """Count one finding and keep the smaller witness; True when it is a violation."""
        if finding is None:
            return False
        tally = self.tallies[invariant]
        tally.checked += 1
        if not finding.ops:
            return False
        tally.violations += 1
        self.wrong[finding.ops[-1].number] = finding.ops[-1]
        if not tally.witness.ops or finding.size < tally.witness.size:
            tally.witness = finding
        return True

    def expect(self, invariant: Invariant, right: bool, ops: tuple[Op, ...], possible: str) -> None:
        """Count whether the last of `ops` is `right`; they prove it if it is not."""
        self.note(invariant, HELD if right else Witness(ops, possible))

    @property
    def violations(self) -> int:
        """The number of violations of all invariants together."""
        return sum(tally.violations for tally in self.tallies.values())

    def counts(self) -> dict[str, tuple[int, int]]:
        """(checked, violations) by name: what two checkers compare."""
        return {str(name): (t.checked, t.violations) for name, t in self.tallies.items()}


def explain(witness: Witness) -> list[str]:
    """One line a request, and what the last answer could have been."""
    lines = [describe(op) for op in witness.ops]
    return [*lines, f"possible: {witness.possible}"] if witness.possible else lines


def describe(op: Op) -> str:
    """One line that lets a reader find the request in the history and in the logs."""
    about = {
        "field": op.key,
        "count": op.value,
        "version": op.version,
        "wrote": op.sent,
        "read": op.got,
        "answered for": op.seen if op.seen != op.user else None,
        "given cookie": op.cookie,
        "ends": op.ends and " ".join(op.ends),
        "lists": op.refs and " ".join(op.refs),
        "current": op.ref,
        "idle": op.idle,
        "absolute": op.absolute,
    }
    shown = "".join(f" {name} {value}" for name, value in about.items() if value is not None)
    return (
        f"#{op.number} {op.kind} of {op.session} ({op.user}){shown}: {op.outcome},"
        f" status {op.status}, worker {op.worker or '?'},"
        f" {op.invoked / 1e9:.6f} to {op.returned / 1e9:.6f} s"
    )
