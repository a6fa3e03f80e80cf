"""The sorting check of the counter against an exhaustive search over all orders."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from loadtest.check.counter import FOREVER, linearizable
from loadtest.check.op import Kind, Op, Outcome
from loadtest.check.tally import HELD


@st.composite
def small_histories(draw: st.DrawFn) -> list[Op]:
    """Up to five requests with any overlap and any counts, right or wrong."""
    size = draw(st.integers(1, 5))
    moments = draw(st.permutations(range(2 * size)))
    ops = []
    for number in range(size):
        begin, end = sorted(moments[2 * number : 2 * number + 2])
        kind = draw(st.sampled_from([Kind.VISIT, Kind.READ]))
        outcomes = [Outcome.OK, Outcome.UNKNOWN] if kind is Kind.VISIT else [Outcome.OK]
        outcome = draw(st.sampled_from(outcomes))
        value = draw(st.integers(kind is Kind.VISIT, size)) if outcome is Outcome.OK else None
        ops.append(Op(number, kind, "s", "u", begin, end, outcome, value=value))
    return ops


def some_order_explains(ops: list[Op]) -> bool:
    """Try every order of every choice of unknown visits."""
    known = [op for op in ops if op.outcome is Outcome.OK]
    unknown = [op for op in ops if op.outcome is Outcome.UNKNOWN]
    choices = [
        [op for bit, op in enumerate(unknown) if mask >> bit & 1]
        for mask in range(1 << len(unknown))
    ]
    return any(_explains(order) for chosen in choices for order in permutations(known + chosen))


def _explains(order: tuple[Op, ...]) -> bool:
    count, latest = 0, -1
    for op in order:
        ends = op.returned if op.outcome is Outcome.OK else FOREVER
        if ends < latest:
            return False
        latest = max(latest, op.invoked)
        count += op.kind is Kind.VISIT
        if op.outcome is Outcome.OK and op.value != count:
            return False
    return True


@given(small_histories())
def test_sorting_decides_like_searching(ops: list[Op]) -> None:
    """The sort calls a history linearizable exactly when some order of it explains every answer."""
    assert (linearizable(ops) == HELD) == some_order_explains(ops)
