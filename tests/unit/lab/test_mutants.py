"""How a run against a mutant is judged, and when its fault counts as caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.mutants.catalogue import MUTANTS, Mutant
from lab.mutants.kinds import BY_KIND, KINDS, together
from lab.mutants.trial import Caught, complaint, first_caught
from lab.mutants.workers.faulty import FAULTS
from lab.testbed.loadtest import Run
from loadtest.check.history import HistoryWriter
from loadtest.check.op import Invariant
from tests.unit.loadtest.histories import LIMITS, overwrite_a_visit, simulate

BLOB = Mutant("blob", 10, Invariant.NO_LOST_UPDATE, workers="blob")
IP_HASH = Mutant("ip_hash", 11, reason="1 worker answered", upstream=("zone", "ip_hash"))
RIGHT = Mutant("none", 0)
FREEZES = Mutant("none, freezes", 12, redis_freezes=True)


def run(code: int, *broken: str, reason: str = "") -> Run:
    """A finished load test that found these invariants broken."""
    counts = {"violations": dict.fromkeys(broken, 1)}
    return Run(code, "", {"counts": counts, "reasons": [[code, reason]] if reason else []})


@pytest.mark.parametrize(
    ("mutant", "found"),
    [
        (BLOB, run(10, "no lost update", "bounds")),
        (IP_HASH, run(11, reason="1 worker answered, the upstream lists 4")),
        (RIGHT, run(0)),
        (FREEZES, run(12, reason="3 requests failed")),
    ],
)
def test_as_it_must_end(mutant: Mutant, found: Run) -> None:
    """The code and the invariant or reason that are named for a stack leave nothing to say."""
    assert complaint(mutant, found) is None


@pytest.mark.parametrize(
    ("mutant", "found", "said"),
    [
        (BLOB, run(0), "unnoticed"),
        (IP_HASH, run(0), "unnoticed"),
        (BLOB, run(13), "exit code 13, not 10"),
        (BLOB, run(10, "identity"), "caught by identity, not by no lost update"),
        (IP_HASH, run(11, reason="3 answers carried no X-Served-By"), "its reason is not"),
        (RIGHT, run(10, "identity"), "exit code 10, not 0"),
        (FREEZES, run(12, "bounds"), "nothing is wrong, yet it found: bounds"),
    ],
)
def test_anything_else_is_told(mutant: Mutant, found: Run, said: str) -> None:
    """A mutant unnoticed, caught for another reason, or a right stack accused: each is a complaint."""
    assert said in (complaint(mutant, found) or "")


def test_moment_of_the_catch(tmp_path: Path) -> None:
    """The fault is caught with the answer that breaks the rule: so many requests, so many seconds in."""
    ops, tail = simulate([0, 1, 2, 3])
    overwrite_a_visit(tail)
    with HistoryWriter(tmp_path / "history.jsonl", LIMITS) as history:
        for op in ops:
            history.write(op)
    answered = sum(op.returned <= tail["second visit"].returned for op in ops)
    seconds = (tail["second visit"].returned - ops[0].invoked) / 1e9
    caught = first_caught(tmp_path / "history.jsonl", Invariant.NO_LOST_UPDATE)
    assert caught == Caught(answered, pytest.approx(seconds))
    assert first_caught(tmp_path / "history.jsonl", Invariant.IDENTITY) is None


def test_catalogue_has_both_kinds() -> None:
    """Broken stacks name what has to notice them; right ones have nothing that could be noticed."""
    every = (*MUTANTS, *KINDS)
    assert all(mutant.named or mutant.reason for mutant in every if mutant.broken)
    assert [mutant.code for mutant in every if not mutant.broken] == [0, 12]
    assert len({mutant.name for mutant in every}) == len(every)


def test_every_promise_has_a_mutant() -> None:
    """Each fault of a worker is tried; and each invariant is the name of some, but for those that follow from others."""
    assert {fault for mutant in KINDS for fault in mutant.faults} == set(FAULTS)
    follow = {
        Invariant.MONOTONIC_READS,
        Invariant.MONOTONIC_WRITES,
        Invariant.WRITES_FOLLOW_READS,
        Invariant.LINEARIZABLE_COUNTER,
    }
    assert set(Invariant) - follow == {mutant.named for mutant in (*MUTANTS, *KINDS)} - {None}


def test_faults_share_stacks() -> None:
    """The short form has fewer stacks, none with two faults of one promise, and tries each kind."""
    few = together(KINDS)
    assert len(few) < len(KINDS) / 3
    tried = [fault for one in few for fault in one.faults]
    assert sorted(tried) == sorted(f for one in KINDS if not one.only_long for f in one.faults)
    assert all(len(set(one.names)) == len(one.names) for one in few)
    names = {name for one in few for name in (one.name, *one.faults)}
    assert all(names & {one.name for one in kind} for kind in BY_KIND)
    missed = run(10, *few[0].names[1:])
    assert complaint(few[0], missed) == (
        f"caught by {', '.join(sorted(missed.broken))}, not by {few[0].named}"
    )
