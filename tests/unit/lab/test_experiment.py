"""What experiments share: settings, and why one did not run, as exit code and as a sentence."""

from __future__ import annotations

import pytest

from lab.experiment import exit_code_of
from lab.settings import WrongSetting, number, switch
from lab.visitors import LoginFailed
from loadtest.load.preflight import NotReachable
from loadtest.verdict.verdict import Code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (WrongSetting("N=no"), Code.HARNESS),
        (NotReachable("nobody there"), Code.NOT_REACHABLE),
        (LoginFailed("status 403"), Code.NOT_REACHABLE),
    ],
)
def test_a_refusal_has_its_code(
    error: Exception, code: Code, capsys: pytest.CaptureFixture[str]
) -> None:
    """What keeps a run from running is told in one line, and by its exit code."""

    def run() -> int:
        raise error

    assert exit_code_of(run) == code
    assert capsys.readouterr().err == f"error: {error}\n"


def test_a_run_has_its_own_code() -> None:
    """A run that ran returns what it found; a mistake in it is not hidden."""
    assert exit_code_of(lambda: Code.CONSISTENCY) == Code.CONSISTENCY
    with pytest.raises(ZeroDivisionError):
        exit_code_of(lambda: 1 // 0)


@pytest.mark.parametrize(("text", "on"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_switch(text: str, on: bool) -> None:
    """QUICK=1 is on; QUICK=0, an empty one and a missing one are off."""
    assert switch({"QUICK": text}, "QUICK") is on
    assert not switch({}, "QUICK")


@pytest.mark.parametrize("text", ["many", "9", "1001"])
def test_number_out_of_bounds(text: str) -> None:
    """A number that cannot be used is refused by name; an empty one is the default."""
    with pytest.raises(WrongSetting, match=f"N={text}"):
        number({"N": text}, "N", 300, 10, 1000)
    assert number({"N": ""}, "N", 300, 10, 1000) == 300
