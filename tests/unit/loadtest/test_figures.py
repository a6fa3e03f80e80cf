"""Spread, latency, evidence and arrivals: the figures that a verdict is made of."""

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from loadtest.check.evidence import find_evidence
from loadtest.check.op import Kind, Op, Outcome
from loadtest.load.arrivals import due_times
from loadtest.verdict import latency, spread

MILLISECOND = 10**6


def request(number: int, worker: str | None, session: str = "s", **more: object) -> Op:
    """A read that takes half a millisecond, one every millisecond."""
    begin = number * MILLISECOND
    op = Op(number, Kind.READ, session, "u", begin, begin + MILLISECOND // 2, Outcome.OK)
    op.worker, op.status = worker, 200
    for name, value in more.items():
        setattr(op, name, value)
    return op


def test_round_robin() -> None:
    """Three turns over four workers are exactly even, and every hop changes the worker."""
    measured = spread.measure(request(number, "abcd"[number % 4]) for number in range(12))
    assert measured.requests == {"a": 3, "b": 3, "c": 3, "d": 3}
    assert (measured.difference, measured.ratio, measured.hop_ratio) == (0, 1.0, 1.0)
    assert measured.hops == {("a", "b"): 3, ("b", "c"): 3, ("c", "d"): 3, ("d", "a"): 2}


def test_sticky_sessions_look_even() -> None:
    """Even counts do not show stickiness; the hop ratio does."""
    ops = [request(number, "ab"[number % 2], f"s{number % 2}") for number in range(10)]
    measured = spread.measure(ops)
    assert measured.ratio == 1.0
    assert measured.hop_ratio == 0.0


def test_weights() -> None:
    """A worker of weight 2 is due twice the requests; even counts are then uneven."""
    due = [request(number, "aabc"[number % 4]) for number in range(40)]
    weighted = spread.measure(due, (1, 2, 1))
    assert (weighted.difference, weighted.ratio, weighted.chance_hops) == (0, 1.0, 0.625)
    even = [request(number, "abc"[number % 3]) for number in range(30)]
    assert spread.measure(even, (1, 2, 1)).ratio == 2.0
    assert spread.measure(even, (2, 1)).ratio == 1.0  # not these workers: another gate says so


def test_nobody_said_who_answered() -> None:
    """A proper answer without X-Served-By is counted; an error page of nginx is not."""
    ops = [request(1, None), request(2, None, status=502)]
    assert spread.measure(ops).unnamed == 1


@given(st.lists(st.integers(0, 10**9), min_size=1), st.floats(0.01, 1))
def test_percentile(values: list[int], share: float) -> None:
    """A percentile is a measured value that at least its share of all values do not exceed."""
    ordered = sorted(values)
    found = latency.percentile(ordered, share)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= share * len(ordered)
    assert sum(value < found for value in ordered) < share * len(ordered)


def test_response_time_counts_from_due_time() -> None:
    """An arrival that was sent late by 9 ms is 9 ms slower in response time than in service."""
    op = request(10, "a", intended=1 * MILLISECOND)
    rows = latency.measure([op])
    assert rows["read"].p50 == 0.5
    assert rows[latency.OPEN].p50 == 9.5


def test_evidence() -> None:
    """Pairs, crossings and overlaps are counted within a session, never between two."""
    write = request(1, "a", kind=Kind.VISIT, value=1)
    reads = [request(2, "a", value=1), request(3, "b", value=1)]
    beside = request(3, "b", value=1, invoked=3 * MILLISECOND + 1)
    stranger = request(4, "b", session="other", value=0)
    evidence = find_evidence([write, *reads, beside, stranger])
    assert (evidence.pairs, evidence.crossed, evidence.overlaps) == (3, 2, 1)


@given(st.floats(1, 1000), st.integers(0, 99))
def test_arrivals_are_seeded(rate: float, seed: int) -> None:
    """The same seed gives the same rising moments, at about the rate that was asked for."""
    moments = list(islice(due_times(rate, seed), 2_000))
    assert moments == list(islice(due_times(rate, seed), 2_000))
    assert moments == sorted(moments)
    assert 0.85 < 2_000 / moments[-1] / rate < 1.18
