"""The two checkers: correct histories pass, every falsified one fails by the right name."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.check.offline import check
from loadtest.check.op import RAISES, SHOWS, Invariant, Outcome
from tests.unit.loadtest.histories import LIMITS, Tail, broken, overwrite_a_visit, replay, simulate

scripts = st.lists(st.integers(0, 999), max_size=60)


@given(scripts)
def test_correct_histories_pass(script: list[int]) -> None:
    """Both checkers find nothing in a correct store's history, and agree on every count."""
    ops, _ = simulate(script)
    online, offline = replay(ops), check(ops, LIMITS)
    assert broken(online) == set()
    assert online.counts() == offline.counts()


def wrong_user(tail: Tail) -> None:
    tail.second_read.seen = "somebody else"


def forgets_own_write(tail: Tail) -> None:
    tail.second_read.value = _value(tail.second_visit.value) - 1


def goes_back(tail: Tail) -> None:
    tail.last_read.value = _value(tail.second_read.value) - 1


def swaps_writes(tail: Tail) -> None:
    tail.first_visit.value, tail.second_visit.value = (
        tail.second_visit.value,
        tail.first_visit.value,
    )


def writes_below_what_was_read(tail: Tail) -> None:
    tail.second_visit.value = _value(tail.first_read.value)


def skips_a_position(tail: Tail) -> None:
    tail.second_visit.value = _value(tail.second_visit.value) + 100


def counts_too_much(tail: Tail) -> None:
    tail.last_read.value = _value(tail.last_read.value) + 100


def lives_after_logout(tail: Tail) -> None:
    tail.probe.outcome = Outcome.OK


def old_session_lives_after_login(tail: Tail) -> None:
    tail.old_probe.outcome = Outcome.OK


def keeps_the_cookie(tail: Tail) -> None:
    tail.relogin.cookie = "cookie-a"


def never_expires(tail: Tail) -> None:
    tail.last_read.idle = -1.0


def absolute_timeout_moves(tail: Tail) -> None:
    tail.last_read.absolute = _value(tail.last_read.absolute) + 30


def logged_out_for_nothing(tail: Tail) -> None:
    tail.last_read.outcome = Outcome.DENIED


def loses_a_field(tail: Tail) -> None:
    tail.kept.value = 0


def field_comes_back(tail: Tail) -> None:
    tail.deleted.value = 1


def lives_after_end(tail: Tail) -> None:
    tail.ended_probe.outcome = Outcome.OK


FALSIFICATIONS = [
    (wrong_user, Invariant.IDENTITY),
    (forgets_own_write, Invariant.READ_YOUR_WRITES),
    (goes_back, Invariant.MONOTONIC_READS),
    (swaps_writes, Invariant.MONOTONIC_WRITES),
    (writes_below_what_was_read, Invariant.WRITES_FOLLOW_READS),
    (overwrite_a_visit, Invariant.NO_LOST_UPDATE),
    (skips_a_position, Invariant.LINEARIZABLE_COUNTER),
    (skips_a_position, Invariant.BOUNDS),
    (counts_too_much, Invariant.QUIESCENT_COUNT),
    (lives_after_logout, Invariant.LOGOUT_IS_FINAL),
    (old_session_lives_after_login, Invariant.NEW_ID_AT_LOGIN),
    (keeps_the_cookie, Invariant.NEW_ID_AT_LOGIN),
    (loses_a_field, Invariant.READ_YOUR_WRITES),
    (field_comes_back, Invariant.DELETE_IS_FINAL),
    (lives_after_end, Invariant.END_IS_FINAL),
    (never_expires, Invariant.LIFETIME),
    (absolute_timeout_moves, Invariant.LIFETIME),
    (logged_out_for_nothing, Invariant.NO_PHANTOM_LOGOUT),
]


@pytest.mark.parametrize(("falsify", "invariant"), FALSIFICATIONS)
@given(script=scripts)
def test_falsified_histories_fail_by_name(
    falsify: Callable[[Tail], None], invariant: Invariant, script: list[int]
) -> None:
    """One wrong answer breaks the invariant named for it, online and offline, in equal numbers."""
    ops, tail = simulate(script)
    falsify(tail)
    online, offline = replay(ops), check(ops, LIMITS)
    assert invariant in broken(online)
    assert online.counts() == offline.counts()


@given(scripts, st.randoms(use_true_random=False))
def test_checkers_agree_on_any_history(script: list[int], dice: Random) -> None:
    """However wrong a history is, both checkers count the same, invariant by invariant."""
    ops, _ = simulate(script)
    for op in dice.sample(ops, 3):
        if op.value is not None:
            op.value = max(0, op.value + dice.choice((-2, -1, 1, 2)))
        if op.kind not in RAISES | SHOWS or op.value is not None:
            op.outcome = dice.choice((Outcome.OK, Outcome.DENIED))
    assert replay(ops).counts() == check(ops, LIMITS).counts()


def test_every_invariant_has_a_falsification() -> None:
    """No invariant is on the list that no test has seen broken."""
    assert {invariant for _, invariant in FALSIFICATIONS} == set(Invariant)


@given(scripts)
def test_witness_is_small(script: list[int]) -> None:
    """The witness of a lost update is the two visits that share a position, no more."""
    ops, tail = simulate(script)
    overwrite_a_visit(tail)
    witness = replay(ops).tallies[Invariant.NO_LOST_UPDATE].witness
    assert witness == (tail.first_visit, tail.second_visit)


def _value(value: float | None) -> int:
    assert value is not None
    return int(value)
