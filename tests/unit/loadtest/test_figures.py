"""Spread, latency, evidence and arrivals: the figures that a verdict is made of."""

from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.check.op import Kind, Op, Outcome
from loadtest.load.arrivals import due_times
from loadtest.verdict import latency, spread, suspects
from loadtest.verdict.analysis import find_evidence
from loadtest.verdict.suspects import Crossing

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
    assert spread.measure(even, (1, 1)).chance_hops == 1 - 1 / 3  # two containers of one line each


@pytest.mark.parametrize(
    ("names", "weights", "least", "most"),
    [
        ("abcd" * 12, (), 1, 1),
        ("abcd" * 6 + "acd" + "abcd" * 6, (), 0.8, 0.95),  # somebody else took a turn
        ("aabc" * 12, (1, 2, 1), 1, 1),
        ("aabc" * 12, (), 0, 0.5),  # a weight that nobody told
        ("a" * 48, (1, 1, 1, 1), 1, 1),  # one worker: another gate says so
        ("abababba" * 6, (), 0, 0.8),
    ],
)
def test_order_of_a_rotation(
    names: str, weights: tuple[int, ...], least: float, most: float
) -> None:
    """Round robin repeats itself after one turn; what other visitors take disturbs it a little."""
    assert least <= spread.rotation_share(names, weights) <= most


def test_hash_is_no_rotation() -> None:
    """One worker answers every request of one path: no rotation, where others answer other paths."""
    assert spread.rotation_share("a" * 48, workers=4) == 0


def test_chance_is_no_rotation() -> None:
    """Workers chosen by chance are hardly ever in the order of a rotation."""
    names = Random(1).choices("abcd", k=200)
    assert spread.rotation_share(names) < 0.1


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
    assert evidence.writes == 1


@given(st.floats(1, 1000), st.integers(0, 99))
def test_arrivals_are_seeded(rate: float, seed: int) -> None:
    """The same seed gives the same rising moments, at about the rate that was asked for."""
    moments = list(islice(due_times(rate, seed), 2_000))
    assert moments == list(islice(due_times(rate, seed), 2_000))
    assert moments == sorted(moments)
    assert 0.85 < 2_000 / moments[-1] / rate < 1.18


def run_of(
    slow: str = "", failing: str = "", every: int = 1, by: int = 40, reads: int = 2_000
) -> list[Op]:
    """Reads of 4 workers, of which one is slow by so many ms, or fails, in every so-manieth of its own."""
    ops, random = [], Random(1)
    for number in range(reads):
        op = request(number, "abcd"[number % 4])
        op.returned += random.randrange(5 * MILLISECOND)
        if number // 4 % every == 0:
            op.returned += by * MILLISECOND if op.worker == slow else 0
            op.outcome = Outcome.FAIL if op.worker == failing else Outcome.OK
        ops.append(op)
    return ops


@pytest.mark.parametrize(
    ("every", "by", "said"), [(1, 40, "40 ms later"), (10, 60, "slowest answers")]
)
def test_slow_worker_is_named(every: int, by: int, said: str) -> None:
    """A worker that is slower all the time is named, and one that is slow now and then but all the time."""
    [found] = suspects.slower(run_of(slow="c", every=every, by=by), 10, 0.5, 0.7)
    assert found.startswith("c ")
    assert said in found


def test_slow_worker_is_named_on_a_busy_machine() -> None:
    """Where everybody waits for a processor now and then, the one that is slow all the time has the longest waits."""
    ops, random = run_of(slow="c", every=20, by=600, reads=8_000), Random(2)
    for op in random.sample([op for op in ops if op.worker != "c"], 240):
        op.returned += random.randrange(100, 300) * MILLISECOND
    [found] = suspects.slower(ops, 40, 0.5, 0.7)
    assert found == "c gave nearly all of the slowest answers"
    everybody = run_of(reads=8_000)
    for op in random.sample(everybody, 240):
        op.returned += random.randrange(100, 300) * MILLISECOND
    assert suspects.slower(everybody, 40, 0.5, 0.7) == []


def test_slow_moment_is_nobodys() -> None:
    """A worker that was slow for a tenth of the run is not called slow, nor anybody on a right stack."""
    ops = run_of()
    assert suspects.slower(ops, 10, 0.5, 0.7) == []
    for op in ops[400:600]:
        op.returned += 80 * MILLISECOND if op.worker == "b" else 0
    assert suspects.slower(ops, 10, 0.5, 0.7) == []


def test_failing_worker_is_named() -> None:
    """Failures of one worker are told from failures of all by their number."""
    assert suspects.failing(run_of(failing="d", every=50), 1e-4) == [
        "d failed 10 of 500 requests, the others 0 of 1,500"
    ]
    everywhere = run_of()
    for op in everywhere[::7]:
        op.outcome = Outcome.FAIL
    assert suspects.failing(everywhere, 1e-4) == []


def crossed(*cells: str) -> Crossing:
    """Wrong answers, one for each of ten sessions in cells like "ab": logged in at a, asked b."""
    found = Crossing()
    for one in "abcd":
        found.answers.update({(one, other): 20 for other in "abcd"})
    for cell in cells:
        found.wrong[cell[0], cell[1]] += 10
        found.sessions |= {(f"{cell}{n}", (cell[0], cell[1])) for n in range(10)}
    return found


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (("ab", "bb", "cb", "db"), "were given by b"),
        (("ba", "bb", "bc", "bd"), "sessions that logged in at b"),
        (("ab", "cb", "db", "ba", "bc", "bd"), "b and the others do not know each other's"),
        (("ab", "bc", "cd", "da"), ""),
        ((), ""),
    ],
)
def test_culprit_is_named(cells: tuple[str, ...], said: str) -> None:
    """Whose the wrong answers are follows from who created against who was asked; chance accuses nobody."""
    [*named] = crossed(*cells).named()
    assert len(named) == bool(said)
    assert said in "".join(named)
