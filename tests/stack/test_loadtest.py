"""The load test against the real stack: it passes.  That it can fail is shown by lab/mutants."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.native.options import read_options
from deploy.native.scratch import Scratch
from deploy.operations.native import find_native
from deploy.operations.with_stack import facts
from deploy.upstream.read import read_upstream
from lab.testbed.loadtest import Run, load
from lab.testbed.second_nginx import rewritten, second_nginx
from loadtest.check.history import lifetimes_of, read_header, read_ops
from loadtest.check.offline import check
from loadtest.check.op import Invariant, Kind
from tests.conftest import UPSTREAM, StartStack
from tests.stack.conftest import ChangedNginx
from tests.unit.loadtest.runs import SHORT

WORKERS = len(read_upstream(UPSTREAM).served)
SHORT_LIVES = {
    "SESSION_IDLE_SECONDS": "3",
    "SESSION_ABSOLUTE_SECONDS": "6",
    "SESSION_TOUCH_SECONDS": "0.3",
    "SESSION_RENEW_SECONDS": "2",
    "SESSION_RENEW_GRACE_SECONDS": "1",
}


def without_speed(run: Run) -> list[str]:
    """The reasons against a run, but for those that only say that the machine was busy."""
    return [text for text in run.reasons.splitlines() if "percentile" not in text]


def test_stack_holds(site: str, tmp_path: Path) -> None:
    """Through real nginx, workers and Redis no session is ever wrong and the spread is even."""
    run = load(site, tmp_path, *SHORT, "--workers", str(WORKERS))
    assert without_speed(run) == [], run.printed
    assert set(run.verdict["counts"]["kinds_ok"]) == set(Kind)


@pytest.mark.long
def test_weights_are_known(stack: Scratch, changed_nginx: ChangedNginx, tmp_path: Path) -> None:
    """A worker of weight 2 may have its two turns in five when the weights are told."""
    port = stack.worker_ports[0]
    host = changed_nginx("upstream.conf", f":{port} ", f":{port} weight=2 ")
    run = load(host, tmp_path, *SHORT, "--weights", "2,1,1,1")
    assert without_speed(run) == [], run.printed
    assert "by the upstream's weights: 2, 1, 1, 1" in run.printed


@pytest.mark.long
@pytest.mark.native
def test_one_worker_holds(stack: Scratch, tmp_path: Path) -> None:
    """A stack that is meant to have one worker is not told that nothing changed workers."""
    others = rf"server 127\.0\.0\.1:(?!{stack.worker_ports[0]})[^;]*;"
    change = {"upstream.conf": rewritten(others, "")}
    with second_nginx(stack, tmp_path, change) as front:
        run = load(front.url, tmp_path / "out", *SHORT, "--workers", "1")
    assert without_speed(run) == [], run.printed
    assert run.verdict["counts"]["workers"] == 1


@pytest.mark.long
@pytest.mark.native
def test_renewals_hold(start_stack: StartStack, tmp_path: Path) -> None:
    """New ids for old ones are right: the same user's, each good for its session, and as many as are due.

    This load comes over IPv6: BIND=::1, whose visitors the limits exempt.
    """
    stack = start_stack(BIND="::1", SESSION_RENEW_SECONDS="3", SESSION_RENEW_GRACE_SECONDS="2")
    site = f"http://[::1]:{stack.http_port}"
    run = load(site, tmp_path, *SHORT, "--duration", "9", "--workers", str(WORKERS))
    assert without_speed(run) == [], run.printed
    given = [op for op in read_ops(tmp_path / "history.jsonl") if op.cookie]
    assert sum(op.kind is not Kind.LOGIN for op in given) > 20


@pytest.mark.long
@pytest.mark.native
def test_long_run_holds(start_stack: StartStack, tmp_path: Path) -> None:
    """Over many lifetimes no right answer is accused: sessions are renewed, kept alive, and ended by each timeout.

    Lifetimes are seconds here, so that what comes late in a long run comes again and again; `make nemesis`
    has minutes with those that are the default.
    """
    stack = start_stack(**SHORT_LIVES)
    seconds = ("--duration", "15", "--session-touch-seconds", SHORT_LIVES["SESSION_TOUCH_SECONDS"])
    run = load(stack.url, tmp_path, *SHORT, *seconds, "--workers", str(WORKERS))
    assert without_speed(run) == [], run.printed
    history = tmp_path / "history.jsonl"
    tallies = check(list(read_ops(history)), lifetimes_of(read_header(history))).tallies
    assert tallies[Invariant.TIMEOUT_ENDS].checked > 10
    assert tallies[Invariant.IDLE_MOVES].checked > 100


@pytest.mark.long
@pytest.mark.native
def test_busy_machine_is_no_fault(site: str, tmp_path: Path) -> None:
    """Where other programs take every processor, a right stack is still right, and its workers are alike."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(6)]
    try:
        run = load(site, tmp_path, *SHORT, "--duration", "10", "--workers", str(WORKERS))
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert without_speed(run) == [], run.printed


@pytest.mark.native
def test_parts_are_known(stack: Scratch) -> None:
    """The load test is told the processes of a native stack, nginx, Redis and each worker, and their versions."""
    found = find_native(read_options(stack.settings))
    assert found is not None
    told = facts(found)
    parts = dict(part.split("=") for part in told["PARTS"].split(","))
    words = {"nginx": "nginx", "redis": "unixsocket"}
    words |= {f"worker-{port}": f"--port\0{port}" for port in stack.worker_ports}
    assert set(parts) == set(words)
    for name, word in words.items():
        assert word in Path(f"/proc/{parts[name]}/cmdline").read_text()
    pattern = r"Tornado [\d.]+, nginx [\d.]+, (Valkey|Redis) [\d.]+, Python [\d.]+"
    assert re.fullmatch(pattern, told["VERSIONS"]), told["VERSIONS"]
