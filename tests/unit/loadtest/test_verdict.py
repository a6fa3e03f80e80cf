"""The verdict: each reason has its code, the gravest decides, and silence is never a pass."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.verdict.verdict import Code, Counted, judge, load_limits, no_run, raised

LIMITS = load_limits()


def sound() -> Counted:
    """A run that passes."""
    return Counted(
        requests=20_000,
        answered=20_000,
        sessions=700,
        kinds_ok={"read": 9_000, "visit": 8_000},
        violations={"identity": 0},
        pairs=9_000,
        crossed=6_750,
        overlaps=4_000,
        writes=6_000,
        workers=4,
        expected_workers=4,
        ratio=1.0002,
        difference=1,
        hops=19_000,
        hop_ratio=0.75,
        chance_hops=0.75,
        arrivals=3_000,
        cpu_share=0.5,
        slowest_p99=("read", 40.0),
    )


def test_sound_run_passes() -> None:
    """Code 0 comes without reasons, and the sentence carries the figures a reader quotes."""
    verdict = judge(sound(), LIMITS)
    assert verdict.code is Code.HOLDS
    assert verdict.reasons == ()
    assert verdict.sentence == (
        "PASS: 20,000 requests of 700 sessions on 4 workers; 9,000 reads after a write, 6,750 (75%)"
        " answered by another worker than the write; 0 violations; busiest by quietest worker"
        " 1.0002. A fault in more than one of 2,000 writes would have shown with 95 %."
    )


def test_nothing_happened() -> None:
    """A run without a request proves nothing."""
    assert judge(Counted(), LIMITS).code is Code.PROVES_NOTHING


@given(st.builds(Counted, requests=st.integers(0, 10**6), answered=st.integers(0, 499)))
def test_hardly_anything_happened(counted: Counted) -> None:
    """Whatever else is true, a run with too few answers never gets code 0."""
    assert judge(counted, LIMITS).code is not Code.HOLDS


def change(**values: object) -> Callable[[Counted], None]:
    """A function that sets these counts."""

    def apply(counted: Counted) -> None:
        for name, value in values.items():
            setattr(counted, name, value)

    return apply


FINDINGS = [
    (change(violations={"no lost update": 1}), 10, "no lost update: 1 violation"),
    (change(harness_errors=["KeyError: 'x'"]), 2, "KeyError: 'x'"),
    (change(workers=3), 11, "3 workers answered, the upstream lists 4"),
    (change(workers=5), 11, "5 workers answered, the upstream lists 4"),
    (change(ratio=1.5, difference=900), 11, "1.500 times as many"),
    (change(hop_ratio=0.0), 11, "sessions stick"),
    (change(unnamed=3), 11, "3 answers carried no X-Served-By"),
    (change(checkers_agree=False), 13, "checker disagree"),
    (change(lost_processes=1), 13, "1 of the generator's processes ended early"),
    (change(crossed=3), 13, "3 reads came from another worker"),
    (change(overlaps=3), 13, "3 requests overlapped"),
    (change(rotation=0.4), 11, "40% were answered in the order of a rotation"),
    (change(cookies_withheld=1), 13, "without the session cookie"),
    (change(dropped=4), 13, "4 of 3,000 open arrivals were dropped"),
    (change(cpu_share=0.9), 13, "used 90% of a core"),
    (change(kinds_ok={"read": 9, "logout": 0}), 13, "no logout ever succeeded"),
    (change(failed=1, failures={"read: status 500": 1}), 12, "1 x read: status 500"),
    (change(unknown=1), 12, "may or may not have happened"),
    (change(slowest_p99=("page", 1500.0)), 12, "99th percentile of page: 1,500 ms"),
    (change(slow_workers=["w2 answered 40 ms later"]), 12, "w2 answered 40 ms later"),
    (change(failing_workers=["w2 failed"]), 12, "w2 failed"),
    (change(others_failed=2), 12, "2 requests of users of your own failed"),
]


@pytest.mark.parametrize(("apply", "code", "reason"), FINDINGS)
def test_finding(apply: Callable[[Counted], None], code: int, reason: str) -> None:
    """One finding alone gives its code and says what was found."""
    counted = sound()
    apply(counted)
    verdict = judge(counted, LIMITS)
    assert verdict.code == code
    assert any(reason in text for _, text in verdict.reasons)
    assert f"exit code {code}" in verdict.sentence


@pytest.mark.parametrize(
    ("without", "code", "shown"),
    [((), 10, {10, 2}), ((10,), 2, {2}), ((10, 2), 11, {11, 12}), ((10, 2, 11), 13, {13, 12})],
)
def test_gravest_reason_decides(without: tuple[int, ...], code: int, shown: set[int]) -> None:
    """With everything wrong at once the gravest gives the code, and what it makes moot is not said."""
    counted = sound()
    for apply, own, _ in FINDINGS:
        if own not in without:
            apply(counted)
    verdict = judge(counted, LIMITS)
    assert verdict.code == code
    assert {own for own, _ in verdict.reasons} == shown
    assert {gate.code for gate in verdict.gates if gate.reasons} == {2, 10, 11, 12, 13} - set(
        without
    )


def test_late_machine_is_allowed_more() -> None:
    """Where the load test's own clock is late by 60 ms, 1,500 ms for a page are no fault of the stack."""
    counted = sound()
    counted.slowest_p99, counted.stall_milliseconds = ("page", 1500.0), 60.0
    assert judge(counted, LIMITS).code is Code.HOLDS


def test_crowded_machine_is_allowed_more() -> None:
    """Where the load test waits for a processor as long as it has one, everybody is twice as slow."""
    counted = sound()
    counted.slowest_p99, counted.cpu_wait = ("page", 1500.0), 1.0
    assert judge(counted, LIMITS).code is Code.HOLDS
    counted.slowest_p99 = ("page", 2500.0)
    assert judge(counted, LIMITS).code is Code.SLO


def test_broken_run_claims_no_power() -> None:
    """What a run would have shown is said only when it shows nothing worse."""
    counted = sound()
    counted.violations = {"identity": 1}
    assert "95 %" not in judge(counted, LIMITS).sentence


def test_small_difference_is_no_finding() -> None:
    """A few turns taken by health checks make no uneven run, however small the run is."""
    counted = sound()
    counted.ratio, counted.difference = 1.05, 7
    assert judge(counted, LIMITS).code is Code.HOLDS


def test_other_policy_is_not_judged_for_evenness() -> None:
    """least_conn may be as uneven as it likes; a missing worker is still one."""
    counted = sound()
    counted.policy, counted.ratio, counted.difference = "least_conn", 3.0, 9_000
    assert judge(counted, LIMITS).code is Code.HOLDS
    counted.workers = 3
    assert judge(counted, LIMITS).code is Code.SPREAD


@pytest.mark.parametrize(("hop_ratio", "code"), [(0.48, 0), (0.3, 11)])
def test_two_workers(hop_ratio: float, code: int) -> None:
    """Of two workers chance changes only every second time; that alone is not stickiness."""
    counted = sound()
    counted.workers = counted.expected_workers = 2
    counted.chance_hops, counted.hop_ratio = 0.5, hop_ratio
    assert judge(counted, LIMITS).code == code


def test_requests_missing() -> None:
    """Of a run whose generator lost a process no evenness can be told; it proves nothing."""
    counted = sound()
    counted.lost_processes, counted.ratio, counted.difference = 1, 1.5, 900
    assert judge(counted, LIMITS).code is Code.PROVES_NOTHING


@pytest.mark.parametrize(("expected", "code"), [(1, 0), (None, 13)])
def test_one_worker(expected: int | None, code: int) -> None:
    """A stack that is meant to have one worker passes; where only one of several answered, nothing is proved."""
    counted = sound()
    counted.workers, counted.expected_workers = 1, expected
    counted.crossed, counted.hop_ratio, counted.ratio = 0, 0.0, 1.0
    assert judge(counted, LIMITS).code == code


def test_unreachable_stack() -> None:
    """Without a stack the verdict is its own code, with the reason."""
    verdict = no_run(Code.NOT_REACHABLE, "nothing answers")
    assert verdict.code == 14
    assert verdict.reasons == ((Code.NOT_REACHABLE, "nothing answers"),)


@given(st.none() | st.integers(0, 20), st.sampled_from(Code))
def test_hook_only_raises(own: int | None, found: Code) -> None:
    """Inside Locust an exit code that is there stays, and 0 is never set over Locust's own."""
    code = raised(own, found)
    assert code == own if own or found is Code.HOLDS else code == found
