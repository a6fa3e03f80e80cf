"""The comparison's plans, figures and words, each on data whose answer is known."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from lab.open_load import Arrival
from lab.policies.cells import Cell, make_cell
from lab.policies.difference import Word, compare, noise_of
from lab.policies.findings import findings, trap_sentence
from lab.policies.measure import Measured
from lab.policies.policies import AGAIN, BASE
from lab.policies.queueing import least_conn, pinned, random_two, round_robin, simulate
from lab.policies.results import Results, as_json, results_of
from lab.policies.settings import read_settings
from lab.policies.table import render
from lab.policies.trap import Trapped
from lab.policies.workloads import BLOCK, PAGE_REQUESTS, WAIT, WORKLOADS
from lab.settings import WrongSetting
from lab.visitors import READ, Request
from loadtest.check.op import Outcome
from loadtest.load.arrivals import due_times
from tests.unit.lab.compare_runs import WARM_UP, cell, run

WORKLOAD = {workload.name: workload for workload in WORKLOADS}
ALL = ["round_robin", "least_conn", "random_two", "ip_hash", "sticky_cookie"]


# Plans


@pytest.mark.parametrize("name", WORKLOAD)
def test_same_seed_same_plan(name: str) -> None:
    """A seed fixes every arrival, and another seed gives others."""
    workload = WORKLOAD[name]
    assert workload.plan(5, "1") == workload.plan(5, "1") != workload.plan(5, "2")


def test_slow_calls_are_of_the_kind() -> None:
    """Awaited calls never block, blocking ones never await, and the hog alone is slow."""
    calls = {name: {a.request for a in w.plan(20, "1")} for name, w in WORKLOAD.items()}
    assert BLOCK not in calls["awaited"]
    assert all(WAIT not in calls[name] for name in WORKLOAD if name != "awaited")
    hog = WORKLOAD["hog"].plan(20, "1")
    assert {a.user for a in hog if a.request is BLOCK} == {0}


def test_pages_come_in_sixes() -> None:
    """The six requests of a page are due at the same moment and belong to one user."""
    arrivals = WORKLOAD["pages"].plan(5, "1")
    pages = [arrivals[n : n + PAGE_REQUESTS] for n in range(0, len(arrivals), PAGE_REQUESTS)]
    assert len(pages) > 20
    assert all(len({(a.at, a.user) for a in page}) == 1 for page in pages)


def test_addresses() -> None:
    """Each user has a network of his own, except where all share one address."""
    for workload in WORKLOADS:
        networks = {address.rpartition(".")[0] for address in workload.addresses()}
        assert len(networks) == (1 if workload.one_network else len(workload.addresses()))


# The model


def arrivals(*calls: Request, gap: float = 0.01) -> list[Arrival]:
    return [Arrival(n * gap, n, call) for n, call in enumerate(calls)]


def ms(latencies: Sequence[float]) -> list[int]:
    return [round(seconds * 1000) for seconds in latencies]


def test_round_robin_waits_behind_a_blocked_worker() -> None:
    """By turns, the third request meets the worker that the first one blocks; least_conn avoids it."""
    calls = arrivals(BLOCK, READ, READ)
    assert ms(simulate(calls, 2, round_robin(2), 0.001)) == [201, 1, 182]
    assert ms(simulate(calls, 2, least_conn(2), 0.001)) == [201, 1, 1]


def test_awaited_call_holds_nothing_up() -> None:
    """A worker that awaits answers others meanwhile."""
    calls = arrivals(WAIT, READ, READ)
    assert ms(simulate(calls, 1, round_robin(1), 0.001)) == [201, 1, 1]


def test_pinned_user_waits_for_himself() -> None:
    """All requests of a pinned user queue at his worker."""
    calls = [Arrival(0.0, 7, BLOCK), Arrival(0.01, 7, READ), Arrival(0.02, 8, READ)]
    assert ms(simulate(calls, 2, pinned({7: 0, 8: 1})(2), 0.001)) == [201, 192, 1]


def test_model_is_a_queue() -> None:
    """At half load one worker's mean wait is that of the M/D/1 queue, half a service time."""
    service = 0.01
    moments = due_times(50, 1)
    calls = [Arrival(next(moments), 0, READ) for _ in range(60_000)]
    latencies = simulate(calls, 1, round_robin(1), service)
    wait = sum(latencies) / len(latencies) - service
    assert wait == pytest.approx(service / 2, rel=0.05)


def test_two_choices_lie_between() -> None:
    """Under blocking load: least_conn, then the better of two, then round robin."""
    plan = WORKLOAD["blocking"].plan(300, "1")
    mean = [
        sum(simulate(plan, 4, choose, 0.001)) / len(plan)
        for choose in (least_conn(4), random_two(4), round_robin(4))
    ]
    assert mean == sorted(mean)
    assert mean[0] < mean[2] / 1.5


# Figures


def test_figures_of_a_cell() -> None:
    """Warm-up is cut, latency counts from the due time, and percentiles are measured values."""
    measured = make_cell([run(lambda a: 500.0 if a.at < WARM_UP else 1 + 100 * (a.user == 3))])
    assert len(measured.latencies) == 250
    assert measured.mean == pytest.approx(11.0)
    assert (measured.at(0.5), measured.at(0.95)) == (1.0, 101.0)
    assert measured.worst_user_p95 == 101.0
    assert measured.users_hurt == 0.1
    assert not measured.invalid


def test_invalid_instead_of_wrong() -> None:
    """Dropped arrivals, failed requests, a busy or a late generator make a cell invalid."""
    good = run(lambda _: 1.0)
    dropped = replace(good, ops=[*good.ops[:-1], None])
    busy = replace(good, cpu_share=0.9)
    failed = run(lambda _: 1.0, outcome=Outcome.FAIL)
    late = run(lambda _: 100.0)
    for op in late.ops:
        assert op is not None
        op.invoked += 30 * 10**6
    reasons = [make_cell([one]).invalid for one in (good, dropped, busy, failed, late)]
    assert reasons[0] == ()
    assert "1 arrivals were dropped" in reasons[1]
    assert "90% of a core" in reasons[2][0]
    assert "no fast request was answered" in reasons[3]
    assert "more than 20 ms late" in reasons[4][0]


# Words


def words(others: Sequence[Cell], base: Cell | None = None, again: Cell | None = None) -> set[Word]:
    """What is said of these cells against a round robin of 40 ms, or the one given."""
    base, again = base or cell(40, "a"), again or cell(40, "b")
    noise = noise_of(base, again)
    return {compare(other, base, again, noise).word for other in others}


def test_same_policy_is_not_called_different() -> None:
    """Of 50 comparisons of the same thing, none is called a difference."""
    for n in range(50):
        base, again, other = (cell(40, f"{n} {name}") for name in "abc")
        assert words([other], base, again) == {Word.NONE}


@pytest.mark.long
def test_unsteady_rounds_are_not_called_different() -> None:
    """Nor when whole rounds scatter by a tenth, as on a busy machine: of 100 reports at most 2 err."""
    called = 0
    for n in range(100):
        base, again, *others = (
            cell(40, f"{n} {name}", rounds=3, unsteady=0.1) for name in "abcdef"
        )
        called += words(others, base, again) != {Word.NONE}
    assert called <= 2


def test_different_policies_are_told_apart() -> None:
    """Twice the latency is called slower, half of it faster, of the same scatter."""
    assert words([cell(80, "c")]) == {Word.SLOWER}
    assert words([cell(20, "d")]) == {Word.FASTER}


def test_below_the_noise_is_none() -> None:
    """What is called slower with a quiet A/A pair is none when round robin differs from itself."""
    assert words([cell(60, "c")]) == {Word.SLOWER}
    assert words([cell(60, "c")], again=cell(80, "b")) == {Word.NONE}


def test_one_round_the_other_way_is_none() -> None:
    """A single round in which the policy is no tenth away from either row of round robin is enough."""
    base, again, other = cell(40, "a"), cell(40, "b"), cell(80, "c")
    close = replace(
        other,
        blocks=tuple(
            one if two.round else two for one, two in zip(other.blocks, base.blocks, strict=True)
        ),
    )
    assert words([other], base, again) == {Word.SLOWER}
    assert words([close], base, again) == {Word.NONE}


def test_a_millisecond_is_none() -> None:
    """A clear ratio of very short latencies says nothing on a shared machine."""
    assert words([cell(2, "c")], cell(1, "a"), cell(1, "b")) == {Word.NONE}


def test_invalid_is_not_compared() -> None:
    """A cell that is invalid gets no other word, and so do all when either round robin is."""
    broken = replace(cell(80, "b"), invalid=("dropped",))
    assert words([broken]) == {Word.INVALID}
    assert words([cell(80, "c")], base=broken) == {Word.INVALID}
    assert words([cell(80, "c")], again=broken) == {Word.INVALID}


# Report


def results(means: dict[str, float]) -> Results:
    """Results of a made-up comparison under blocking calls."""
    settings = read_settings(
        {"FRONTS": " ".join(f"{name}=http://h" for name in ALL), "WORKLOADS": "blocking"}
    )
    measured = Measured()
    for policy, mean in means.items():
        rng = random.Random(policy)
        for number in range(4):
            measured.runs.append(run(lambda _: rng.expovariate(1 / mean), number, policy))  # noqa: B023
    return results_of(measured, settings)


EVEN = dict.fromkeys([BASE, AGAIN, *ALL[1:]], 40.0)


def test_report_of_no_difference() -> None:
    """When all policies are the same, the text says so and claims nothing."""
    even = results(EVEN)
    text = " ".join(findings(even))
    assert "no difference between the policies" in text
    assert "did not show here" in text
    assert "confirmed" not in text
    assert "corrected" not in text
    assert "faster" not in render(even)
    assert "slower" not in render(even)


def test_report_of_a_difference() -> None:
    """What is slower and what is faster is named with its ratio, and the claims follow."""
    uneven = results(EVEN | {"sticky_cookie": 90.0, "least_conn": 10.0})
    text = " ".join(findings(uneven))
    assert "confirmed for: slow calls block (sticky cookie 2." in text
    assert "corrected: a policy that watches the workers was better" in text
    assert "Round robin is not the best here" in text
    words = {
        name: policy["against_round_robin"]["word"]
        for name, policy in as_json(uneven)["workloads"]["blocking"]["policies"].items()
    }
    assert words["sticky_cookie"] == "slower"
    assert words["least_conn"] == "faster"
    assert words["ip_hash"] == "none"


def test_half_a_round_is_left_out() -> None:
    """After an interruption only rounds in which every policy was measured count."""
    measured = Measured([run(lambda _: 1.0, n, policy) for n in (0, 1) for policy in EVEN])
    assert len(measured.whole("blocking", len(EVEN))) == 2 * len(EVEN)
    del measured.runs[-1]
    assert {r.round for r in measured.whole("blocking", len(EVEN))} == {0}


def test_trap_is_told_from_the_figures() -> None:
    """The trap is called one only when least_conn drew clearly more than round robin's quarter."""
    blind = Trapped("failing_round_robin", 400, 100)
    assert "more than its share" in trap_sentence([blind, Trapped("failing_least_conn", 400, 250)])
    assert "did not draw more" in trap_sentence([blind, Trapped("failing_least_conn", 400, 101)])
    assert trap_sentence([]) == ""


# Settings


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"FRONTS": "ip_hash=http://h"}, "round_robin is missing"),
        ({"FRONTS": "magic=http://h"}, "magic=http://h is not"),
        ({"WORKLOADS": "blocking x"}, "x is none of"),
        ({"ROUNDS": "1"}, "ROUNDS=1 must be between 2 and 50"),
        ({"ROUNDS": "3.5"}, "ROUNDS=3.5 is not a whole number"),
        ({"SEED": "٣"}, "SEED=٣ is not a number"),
        ({"RUN_SECONDS": "long"}, "RUN_SECONDS=long is not a number"),
    ],
)
def test_wrong_setting_is_named(wrong: dict[str, str], said: str) -> None:
    """A setting that cannot be used is refused, by name."""
    with pytest.raises(WrongSetting, match=said):
        read_settings(wrong)


def test_one_address_is_compared_with_itself() -> None:
    """With HOST alone there are two rows, the same address twice."""
    settings = read_settings({"HOST": "http://h:1"})
    assert settings.fronts == {BASE: "http://h:1", AGAIN: "http://h:1"}
    assert not math.isnan(settings.seconds)
