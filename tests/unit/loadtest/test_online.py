"""The two checkers: correct histories pass, every falsified one fails by the right name."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.check.offline import check
from loadtest.check.op import RAISES, SHOWS, Invariant, Outcome
from tests.unit.loadtest.histories import LIMITS, Tail, broken, overwrite_a_visit, replay, simulate

scripts = st.lists(st.integers(0, 999), max_size=60)


@settings(deadline=None)
@given(scripts)
def test_correct_histories_pass(script: list[int]) -> None:
    """Both checkers find nothing in a correct store's history, and agree on every count."""
    ops, _ = simulate(script)
    online, offline = replay(ops), check(ops, LIMITS)
    assert broken(online) == set()
    assert online.counts() == offline.counts()


def test_every_invariant_is_checked() -> None:
    """The history that all others are made from gives every invariant something to check."""
    assert {
        name for name, (checked, _) in replay(simulate([])[0]).counts().items() if not checked
    } == set()


Falsify = Callable[[Tail], None]


def setting(name: str, **values: Any) -> Falsify:
    """Makes one answer of the tail say something else."""

    def falsify(tail: Tail) -> None:
        for field, value in values.items():
            setattr(tail[name], field, value)

    falsify.__name__ = f"{name}: {values}"
    return falsify


def moving(name: str, by: int, field: str = "value") -> Falsify:
    """Makes one count of the tail higher or lower."""

    def falsify(tail: Tail) -> None:
        setattr(tail[name], field, getattr(tail[name], field) + by)

    falsify.__name__ = f"{name}: {field} {by:+}"
    return falsify


def swaps_writes(tail: Tail) -> None:
    one, other = tail["first visit"], tail["second visit"]
    one.value, other.value = other.value, one.value


def writes_below_what_was_read(tail: Tail) -> None:
    tail["second visit"].value = tail["first read"].value


FALSIFICATIONS = [
    (setting("second read", seen="somebody else"), Invariant.IDENTITY),
    (setting("renewal", cookie="cookie-b"), Invariant.IDENTITY),
    (moving("second read", -1), Invariant.READ_YOUR_WRITES),
    (moving("last read", -1), Invariant.MONOTONIC_READS),
    (swaps_writes, Invariant.MONOTONIC_WRITES),
    (writes_below_what_was_read, Invariant.WRITES_FOLLOW_READS),
    (overwrite_a_visit, Invariant.NO_LOST_UPDATE),
    (moving("second visit", 100), Invariant.LINEARIZABLE_COUNTER),
    (moving("second visit", 100), Invariant.BOUNDS),
    (moving("last read", 100), Invariant.QUIESCENT_COUNT),
    (moving("repeat", 1), Invariant.REPEAT_COUNTS_ONCE),
    (moving("page", -1), Invariant.PAGE_IS_FRESH),
    (setting("put", got='"3"'), Invariant.VALUE_AS_WRITTEN),
    (setting("kept", got='"3"', value=None), Invariant.VALUE_AS_WRITTEN),
    (setting("kept", got='"1"'), Invariant.VALUE_AS_WRITTEN),
    (setting("kept", got='"1"', value=1), Invariant.READ_YOUR_WRITES),
    (setting("kept", got=None, value=0), Invariant.NOTHING_VANISHES),
    (moving("last read", -1, "version"), Invariant.VERSION_GROWS),
    (moving("put", -1, "version"), Invariant.VERSION_GROWS),
    (setting("deleted", value=1, got='"1"'), Invariant.DELETE_IS_FINAL),
    (setting("probe", outcome=Outcome.OK), Invariant.LOGOUT_IS_FINAL),
    (setting("ended probe", outcome=Outcome.OK), Invariant.END_IS_FINAL),
    (setting("old probe", outcome=Outcome.OK), Invariant.NEW_ID_AT_LOGIN),
    (setting("relogin", cookie="cookie-a"), Invariant.NEW_ID_AT_LOGIN),
    (setting("oldest", outcome=Outcome.OK), Invariant.CAP_ENDS_OLDEST),
    (setting("last read", outcome=Outcome.DENIED), Invariant.NO_PHANTOM_LOGOUT),
    (setting("list", refs=("r2", "r3")), Invariant.DEVICE_LIST),
    (setting("list", refs=("r1", "r2", "r3", "r9")), Invariant.DEVICE_LIST),
    (setting("list", ref="r1"), Invariant.DEVICE_LIST),
    (setting("list", named="r3"), Invariant.DEVICE_LIST),
    (setting("shorter list", refs=("r1", "r2", "r3")), Invariant.DEVICE_LIST),
    (setting("shorter list", refs=("r1", "r1")), Invariant.DEVICE_LIST),
    (setting("last read", cleared=True), Invariant.COOKIE_WHEN_DUE),
    (setting("wrong", cookie="new", status=401), Invariant.COOKIE_WHEN_DUE),
    (setting("stranger", cookie="new", status=401), Invariant.COOKIE_WHEN_DUE),
    (setting("last read", cookie="cookie-a"), Invariant.COOKIE_WHEN_DUE),
    (setting("logout", cleared=None), Invariant.LOGOUT_CLEARS_COOKIE),
    (setting("last read", idle=-1.0), Invariant.LIFETIME),
    (setting("last read", idle=61.0), Invariant.LIFETIME),
    (moving("last read", 30, "absolute"), Invariant.LIFETIME),
    (moving("last read", -30, "absolute"), Invariant.LIFETIME),
    (setting("last read", idle=50.0), Invariant.IDLE_MOVES),
    (setting("rested", outcome=Outcome.OK), Invariant.TIMEOUT_ENDS),
    (setting("wrong", outcome=Outcome.OK), Invariant.WRONG_PASSWORD),
    (setting("stranger", outcome=Outcome.OK), Invariant.NO_STRANGER),
]  # fmt: skip


@pytest.mark.parametrize(
    ("falsify", "invariant"), FALSIFICATIONS, ids=lambda value: getattr(value, "__name__", value)
)
@settings(max_examples=20, deadline=None)
@given(script=scripts)
def test_falsified_histories_fail_by_name(
    falsify: Falsify, invariant: Invariant, script: list[int]
) -> None:
    """One wrong answer breaks the invariant named for it, online and offline, in equal numbers.

    Each proof says what the answer could have been.
    """
    ops, tail = simulate(script)
    falsify(tail)
    online, offline = replay(ops), check(ops, LIMITS)
    assert invariant in broken(online)
    assert online.counts() == offline.counts()
    for report in (online, offline):
        assert all(tally.witness.possible for tally in report.tallies.values() if tally.violations)


@settings(deadline=None)
@given(scripts, st.randoms(use_true_random=False))
def test_checkers_agree_on_any_history(script: list[int], random: Random) -> None:
    """However wrong a history is, both checkers count the same, invariant by invariant."""
    ops, _ = simulate(script)
    for op in random.sample(ops, 3):
        if op.value is not None:
            op.value = max(0, op.value + random.choice((-2, -1, 1, 2)))
        if op.version is not None:
            op.version = max(0, op.version + random.choice((-1, 0, 1)))
        if op.refs is not None:
            op.refs = tuple(random.sample(op.refs, 1))
        if op.cookie is not None:
            op.cookie = random.choice(("cookie-a", "cookie-b", op.cookie))
        if op.kind not in RAISES | SHOWS or op.value is not None:
            op.outcome = random.choice((Outcome.OK, Outcome.DENIED))
    assert replay(ops).counts() == check(ops, LIMITS).counts()


def test_every_invariant_has_a_falsification() -> None:
    """No invariant is on the list that no test has seen broken."""
    assert {invariant for _, invariant in FALSIFICATIONS} == set(Invariant)


@settings(deadline=None)
@given(scripts)
def test_witness_is_small(script: list[int]) -> None:
    """The witness of a lost update is the two visits that share a position, no more."""
    ops, tail = simulate(script)
    overwrite_a_visit(tail)
    witness = replay(ops).tallies[Invariant.NO_LOST_UPDATE].witness
    assert [op.number for op in witness.ops] == [
        tail["first visit"].number,
        tail["second visit"].number,
    ]


def test_witness_says_what_was_possible() -> None:
    """Beside the wrong answer stands what the right one could have been."""
    ops, tail = simulate([])
    tail["second read"].value = 7
    witness = replay(ops).tallies[Invariant.QUIESCENT_COUNT].witness
    assert witness.possible == "2 to 2"
