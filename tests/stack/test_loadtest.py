"""The load test against the real stack: it passes, and it notices a balancer that is set wrong."""

from pathlib import Path

from deploy.native.scratch import Scratch
from deploy.upstream import read_upstream
from tests.conftest import UPSTREAM
from tests.stack.conftest import ChangedNginx
from tests.unit.loadtest.runs import SHORT, Run, load

WORKERS = len(read_upstream(UPSTREAM).served)
ZONE = "zone app 512k;"


def without_speed(run: Run) -> list[str]:
    """The reasons against a run, but for those that only say that the machine was busy."""
    return [text for text in run.reasons.splitlines() if "percentile" not in text]


def test_stack_holds(site: str, tmp_path: Path) -> None:
    """Through real nginx, workers and Redis no session is ever wrong and the spread is even."""
    run = load(site, tmp_path, *SHORT, "--workers", str(WORKERS))
    assert without_speed(run) == [], run.printed
    assert run.verdict["counts"]["kinds_ok"]["slow write"]


def test_ip_hash_is_noticed(stack: Scratch, changed_nginx: ChangedNginx, tmp_path: Path) -> None:
    """With ip_hash in the upstream the same stack fails: one worker answers for one address."""
    host = changed_nginx("upstream.conf", ZONE, f"{ZONE} ip_hash;")
    run = load(host, tmp_path, *SHORT)
    assert run.code == 11, run.printed
    assert "1 worker answered" in run.reasons


def test_sticky_cookie_is_noticed(
    stack: Scratch, changed_nginx: ChangedNginx, tmp_path: Path
) -> None:
    """With sessions pinned by their cookie the fair shares of a run do not deceive it."""
    host = changed_nginx("upstream.conf", ZONE, f"{ZONE} hash $cookie_sid consistent;")
    run = load(host, tmp_path, *SHORT)
    assert run.code == 11, run.printed
    assert "stick to their worker" in run.reasons


def test_worker_out_of_rotation_is_noticed(
    stack: Scratch, changed_nginx: ChangedNginx, tmp_path: Path
) -> None:
    """A worker that the rotation leaves out is missed."""
    port = stack.worker_ports[0]
    host = changed_nginx("upstream.conf", f":{port} ", f":{port} down ")
    run = load(host, tmp_path, *SHORT)
    assert run.code == 11, run.printed
    assert "3 workers answered, the upstream lists 4" in run.reasons
