"""The violation that a report draws: one witness, and what else its sessions did meanwhile."""

from dataclasses import dataclass
from typing import Any

from loadtest.check.op import Invariant, Op
from loadtest.check.tally import Report, Witness

MOST_REQUESTS = 12
AROUND_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Found:
    """A broken invariant and the requests that prove it."""

    invariant: Invariant
    witness: Witness


def find_violation(report: Report) -> Found | None:
    """The one to begin with: of the smallest witnesses the earliest; None when all invariants hold.

    Two requests that contradict each other explain more than one that contradicts a count, and a
    promise about one pair more than the one about the counter as a whole.
    """
    broken = [Found(name, tally.witness) for name, tally in report.tallies.items() if tally.witness]
    return min(broken, key=_order, default=None)


def _order(found: Found) -> tuple[bool, bool, int]:
    whole = found.invariant is Invariant.LINEARIZABLE_COUNTER
    return len(found.witness) == 1, whole, max(op.returned for op in found.witness)


class Violation:
    """Collects, from a history, the requests around a witness."""

    def __init__(self, found: Found | None) -> None:
        self._found = found
        witness = found.witness if found else ()
        self._numbers = {op.number for op in witness}
        self._sessions = {op.session for op in witness}
        self._begin = min((op.invoked for op in witness), default=0)
        self._end = max((op.returned for op in witness), default=0)
        self._around: list[Op] = []

    def add(self, op: Op) -> None:
        """Keep this request if it belongs into the picture."""
        margin = int(AROUND_SECONDS * 1e9)
        inside = op.returned >= self._begin - margin and op.invoked <= self._end + margin
        if op.session in self._sessions and inside and op.number not in self._numbers:
            self._around.append(op)

    def values(self) -> dict[str, Any] | None:
        """The picture's requests in the order they were sent, milliseconds from the witness's start."""
        if self._found is None:
            return None
        near = sorted(self._around, key=self._distance)[: MOST_REQUESTS - len(self._numbers)]
        shown = sorted([*self._found.witness, *near], key=lambda op: op.invoked)
        return {
            "invariant": str(self._found.invariant),
            "requests": [self._bar(op) for op in shown],
        }

    def _distance(self, op: Op) -> int:
        return max(self._begin - op.returned, op.invoked - self._end, 0)

    def _bar(self, op: Op) -> dict[str, Any]:
        return {
            "number": op.number,
            "text": _text(op),
            "worker": op.worker,
            "from": (op.invoked - self._begin) / 1e6,
            "to": (op.returned - self._begin) / 1e6,
            "witness": op.number in self._numbers,
        }


def _text(op: Op) -> str:
    found = str(op.outcome) if op.value is None else f"count {op.value}"
    other = f", answered for {op.seen}" if op.seen not in (None, op.user) else ""
    return f"{op.kind} of {op.session}: {found}{other}"
