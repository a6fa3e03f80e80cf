"""What experiments share: settings, and why one did not run, as exit code and as a sentence."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import __main__ as lab
from lab.experiment import exit_code_of
from lab.settings import WrongSetting, number, switch
from lab.visitors import LoginFailed
from loadtest.load.preflight import NotReachable
from loadtest.verdict.verdict import Code


@pytest.fixture(autouse=True)
def _own_sigterm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


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


@pytest.mark.parametrize("name", lab.KNOWN)
def test_help_runs_nothing(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m lab NAME --help` is the sentence about it, and 0."""
    assert lab.main([name, "--help"]) == 0
    assert str(lab.KNOWN[name].__doc__) in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nosuch"], ["policies", "nosuch"], ["cost", "QUICK=1"]])
def test_an_unknown_argument_runs_nothing(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """What no experiment knows is named, and nothing is started."""
    assert lab.main(arguments) == 2
    assert f"error: {arguments[-1]!r} is not known here" in capsys.readouterr().err


def test_a_folder_without_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m lab nemesis FOLDER` says so where no run is stored."""
    assert lab.main(["nemesis", str(tmp_path)]) == 1
    assert "is not the folder of a run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "code", "said"),
    [
        ("PROMETHEUS_PORT", "1", 1, "no Prometheus answers on port 1"),
        ("PROMETHEUS_PORT", "x", 2, "PROMETHEUS_PORT=x is not a number"),
        ("MINUTES", "0", 2, "MINUTES=0 must be between 5 and 1440"),
    ],
)
def test_dashboards_need_a_prometheus(
    name: str,
    value: str,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without one, or with a setting that cannot be used, the reason is a line and not a traceback."""
    monkeypatch.setenv(name, value)

    assert lab.main(["dashboards"]) == code
    assert said in capsys.readouterr().err
