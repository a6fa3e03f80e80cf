"""The load test against the real stack: it passes.  That it can fail is shown by tests/mutants."""

from pathlib import Path

from deploy.native.scratch import Scratch
from deploy.upstream import read_upstream
from loadtest.operations import Kind
from tests.conftest import UPSTREAM
from tests.stack.conftest import ChangedNginx
from tests.unit.loadtest.runs import SHORT, Run, load

WORKERS = len(read_upstream(UPSTREAM).served)


def without_speed(run: Run) -> list[str]:
    """The reasons against a run, but for those that only say that the machine was busy."""
    return [text for text in run.reasons.splitlines() if "percentile" not in text]


def test_stack_holds(site: str, tmp_path: Path) -> None:
    """Through real nginx, workers and Redis no session is ever wrong and the spread is even."""
    run = load(site, tmp_path, *SHORT, "--workers", str(WORKERS))
    assert without_speed(run) == [], run.printed
    assert set(run.verdict["counts"]["kinds_ok"]) == set(Kind)


def test_weights_are_known(stack: Scratch, changed_nginx: ChangedNginx, tmp_path: Path) -> None:
    """A worker of weight 2 may have its two turns in five when the weights are told."""
    port = stack.worker_ports[0]
    host = changed_nginx("upstream.conf", f":{port} ", f":{port} weight=2 ")
    run = load(host, tmp_path, *SHORT, "--weights", "2,1,1,1")
    assert without_speed(run) == [], run.printed
    assert "by the upstream's weights: 2, 1, 1, 1" in run.printed
