"""The load test against the real stack: it passes.  That it can fail is shown by tests/mutants."""

from pathlib import Path

from deploy.upstream import read_upstream
from tests.conftest import UPSTREAM
from tests.unit.loadtest.runs import SHORT, Run, load

WORKERS = len(read_upstream(UPSTREAM).served)


def without_speed(run: Run) -> list[str]:
    """The reasons against a run, but for those that only say that the machine was busy."""
    return [text for text in run.reasons.splitlines() if "percentile" not in text]


def test_stack_holds(site: str, tmp_path: Path) -> None:
    """Through real nginx, workers and Redis no session is ever wrong and the spread is even."""
    run = load(site, tmp_path, *SHORT, "--workers", str(WORKERS))
    assert without_speed(run) == [], run.printed
    assert run.verdict["counts"]["kinds_ok"]["slow write"]
