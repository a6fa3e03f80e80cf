"""The tally of every invariant: how often it was checked, how often broken, smallest witness."""

from dataclasses import dataclass, field

from loadtest.check.op import Invariant, Op

Witness = tuple[Op, ...]
Finding = Witness | None  # None: the rule did not apply; (): it held; operations: it was broken


@dataclass(slots=True)
class Tally:
    """The count of one invariant."""

    checked: int = 0
    violations: int = 0
    witness: Witness = ()


@dataclass(slots=True)
class Report:
    """All invariants; a fresh report has checked nothing."""

    tallies: dict[Invariant, Tally] = field(
        default_factory=lambda: {invariant: Tally() for invariant in Invariant}
    )

    def note(self, invariant: Invariant, finding: Finding) -> bool:
        """Count one finding and keep the smaller witness; True when it is a violation."""
        if finding is None:
            return False
        tally = self.tallies[invariant]
        tally.checked += 1
        if not finding:
            return False
        tally.violations += 1
        if not tally.witness or _size(finding) < _size(tally.witness):
            tally.witness = finding
        return True

    @property
    def violations(self) -> int:
        """The number of violations of all invariants together."""
        return sum(tally.violations for tally in self.tallies.values())

    def counts(self) -> dict[str, tuple[int, int]]:
        """(checked, violations) by name: what two checkers compare."""
        return {str(name): (t.checked, t.violations) for name, t in self.tallies.items()}


def _size(witness: Witness) -> tuple[int, int]:
    span = max(op.returned for op in witness) - min(op.invoked for op in witness)
    return len(witness), span


def describe(op: Op) -> str:
    """One line that lets a reader find the request in the history and in the logs."""
    value = "" if op.value is None else f" count={op.value}"
    seen = "" if op.seen in (None, op.user) else f" answered for {op.seen!r}"
    return (
        f"#{op.number} {op.kind} of {op.session} ({op.user}){value}{seen}: {op.outcome},"
        f" status {op.status}, worker {op.worker or '?'},"
        f" {op.invoked / 1e9:.6f} to {op.returned / 1e9:.6f} s"
    )
