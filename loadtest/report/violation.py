"""The violation that a report draws: one witness, and what else its sessions did meanwhile."""

from collections.abc import Sequence
from typing import Any

from loadtest.check.op import Invariant, Op
from loadtest.check.tally import Report, Witness

MOST_REQUESTS = 12
AROUND_SECONDS = 0.1
Found = tuple[Invariant, Witness]


def find_violation(report: Report, ops: Sequence[Op]) -> dict[str, Any] | None:
    """The one to begin with: of the smallest witnesses the earliest; None when all invariants hold.

    Two requests that contradict each other explain more than one that contradicts a count, and a
    promise about one pair more than the one about the counter as a whole.
    """
    broken = [(name, tally.witness) for name, tally in report.tallies.items() if tally.violations]
    return _drawn(*min(broken, key=_order), ops) if broken else None


def _order(found: Found) -> tuple[bool, bool, int]:
    name, witness = found
    whole = name is Invariant.LINEARIZABLE_COUNTER
    return len(witness.ops) == 1, whole, max(op.returned for op in witness.ops)


def _drawn(invariant: Invariant, witness: Witness, ops: Sequence[Op]) -> dict[str, Any]:
    """The picture's requests in the order they were sent, milliseconds from the witness's start."""
    numbers = {op.number for op in witness.ops}
    sessions = {op.session for op in witness.ops}
    begin = min(op.invoked for op in witness.ops)
    end = max(op.returned for op in witness.ops)
    margin = int(AROUND_SECONDS * 1e9)
    around = [
        op
        for op in ops
        if op.session in sessions
        and op.number not in numbers
        and op.returned >= begin - margin
        and op.invoked <= end + margin
    ]
    around.sort(key=lambda op: max(begin - op.returned, op.invoked - end, 0))
    shown = sorted(
        [*witness.ops, *around[: MOST_REQUESTS - len(numbers)]], key=lambda op: op.invoked
    )
    return {
        "invariant": str(invariant),
        "possible": witness.possible,
        "requests": [
            {
                "number": op.number,
                "text": _text(op),
                "worker": op.worker,
                "from": (op.invoked - begin) / 1e6,
                "to": (op.returned - begin) / 1e6,
                "witness": op.number in numbers,
            }
            for op in shown
        ],
    }


def _text(op: Op) -> str:
    found = str(op.outcome) if op.value is None else f"count {op.value}"
    other = f", answered for {op.seen}" if op.seen not in (None, op.user) else ""
    return f"{op.kind} of {op.session}: {found}{other}"
