"""Why a measuring run did not run, as exit code and as a sentence."""

from __future__ import annotations

import pytest

from lab.refusals import LoginFailed, WrongSetting, exit_code_of
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
