"""Whether one counter of a session is linearizable, decided by sorting instead of searching.

Every acknowledged raise returns its position, so the only possible order is known: by count, a
raise before the reads of its count. Counts that nobody acknowledged can only belong to raises
with an unknown outcome; giving the lowest gap to the earliest of those is never worse than any
other choice. The order is right when nobody in it finished before an earlier one began.
"""

from loadtest.check.op import RAISES, SHOWS, Op, Outcome
from loadtest.check.tally import HELD, Witness

FOREVER = 1 << 63


def linearizable(ops: list[Op]) -> Witness:
    """The operations that prove the counter wrong; HELD when it is linearizable.

    `ops` are one counter's raises, acknowledged or unknown, and its answered reads.
    """
    acked = [op for op in ops if op.outcome is Outcome.OK]
    order = sorted(
        ((op.value or 0, op.kind in SHOWS, op.invoked, op) for op in acked),
        key=lambda entry: entry[:3],
    )
    unknown = sorted(
        (op for op in ops if op.kind in RAISES and op.outcome is Outcome.UNKNOWN),
        key=lambda op: op.invoked,
    )
    position, latest = 0, None
    for value, is_read, _, op in order:
        target = value if is_read else value - 1
        if target < position:
            return Witness((latest or op, op), f"{position} or more")
        while position < target:
            if not unknown:
                return Witness((op,), f"up to {position}")
            latest = _later(latest, unknown.pop(0))
            position += 1
        if latest is not None and _ends(op) < latest.invoked:
            return Witness((latest, op), "another order of these two")
        position, latest = value, _later(latest, op)
    return HELD


def _later(one: Op | None, other: Op) -> Op:
    return other if one is None or one.invoked < other.invoked else one


def _ends(op: Op) -> int:
    return op.returned if op.outcome is Outcome.OK else FOREVER
