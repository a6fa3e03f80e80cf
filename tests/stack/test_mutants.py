"""`make loadtest-mutants`, which .ci/run runs, notices when a broken stack goes unnoticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deploy.native.scratch import Scratch
from lab.mutants.__main__ import QUICK, main, try_all
from lab.mutants.catalogue import Mutant
from loadtest.check.op import Invariant

pytestmark = pytest.mark.native


@pytest.mark.long
def test_unnoticed_mutant_fails(
    stack: Scratch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mutant that the load test lets pass makes the command fail, by name."""
    harmless = Mutant("harmless", 10, Invariant.NO_LOST_UPDATE, workers="app")
    short = replace(QUICK[0], seconds=2)
    assert try_all([harmless], [short], [stack], tmp_path) == 1
    assert "WRONG: unnoticed" in capsys.readouterr().out


def test_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is no mutant is refused, instead of trying nothing and passing."""
    assert main(["ip hash"]) == 2
    assert "no such mutant: ip hash" in capsys.readouterr().err


@pytest.mark.long
def test_one_that_does_not_start(
    stack: Scratch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mutant whose workers do not come up is a complaint of its line; the next one is tried."""
    broken = Mutant(
        "no such module", 10, Invariant.NO_LOST_UPDATE, workers="lab.mutants.workers.none"
    )
    right = Mutant("none", 0)
    assert try_all([broken, right], [replace(QUICK[0], seconds=2)], [stack], tmp_path) == 1
    printed = capsys.readouterr().out
    assert "did not come up" in printed
    assert "FAIL: 1 of these runs" in printed
