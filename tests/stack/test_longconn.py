"""Long connections against the real stack: what is reported, and a stop on Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from deploy.native.scratch import Scratch
from tests.conftest import StartStack
from tests.stack.measuring import finish, start
from tests.stack.operating import settings_of
from tests.stack.test_makefile import make

pytestmark = [pytest.mark.native, pytest.mark.long]


def test_streams_survive_disturbances(start_stack: StartStack, tmp_path: Path) -> None:
    """Streams to the running stack are held, told, ended, and come back after each disturbance."""
    stack = start_stack()
    done = make("longconn", **settings_of(stack), QUICK="1", N="120", OUT=str(tmp_path))
    printed, report = done.stdout, json.loads((tmp_path / "report.json").read_text())
    assert done.returncode == 0, printed + done.stderr
    assert f"Event streams to {stack.url} " in printed
    [step] = report["steps"]
    assert (step["streams"], step["missed"]) == (120, 0)
    assert step["bytes_per_stream"]["worker"] > 1000
    assert step["logout_seconds"] < 5
    restart, kill = report["faults"]
    assert restart["lost"] >= 120  # each stream at least once, as every worker was restarted
    assert 0 < kill["lost"] < 120  # those of one worker
    for fault in (restart, kill):
        assert fault["all_back"], printed
        assert "status 401" not in fault["refused"]
        assert fault["probe"]["failed"] == 0
    assert restart["probe"]["unknown"] == 0
    assert report["violations"] == 0
    check_words(printed, report)
    assert (tmp_path / "longconn.png").stat().st_size > 10_000


def check_words(printed: str, report: dict[str, Any]) -> None:
    """Each goal is printed with its verdict, and the verdict follows from the figures."""
    words = {True: "met   ", False: "MISSED", None: "unsure"}
    for goal in report["goals"]:
        assert f"{words[goal['met']]}  {goal['text']}: {goal['measured']}" in printed
    by_text = {goal["text"]: goal["met"] for goal in report["goals"]}
    zero, again, step = (report[name] for name in ("zero", "zero_again", "steps"))
    ratio = step[-1]["probe"]["p99"] / median(zero["windows"] + again["windows"])
    noise = max(zero["p99"], again["p99"]) / min(zero["p99"], again["p99"])
    latency = by_text["normal requests' p99 at most 2 times that without streams"]
    assert latency == (None if noise > 2 else ratio <= 2)
    assert by_text["logout closes a stream within 1 s"] == (step[-1]["logout_seconds"] <= 1)


def test_limit_is_found(start_stack: StartStack, tmp_path: Path) -> None:
    """When nginx has no room for more, the report says so, and what to raise."""
    stack = start_stack(NGINX_PROCESSES="1")
    conf = stack.folder / "state/nginx/conf/nginx.conf"
    conf.write_text(conf.read_text().replace("worker_connections 16384", "worker_connections 100"))
    master = int((stack.folder / "state/nginx/nginx.pid").read_text())
    os.kill(master, signal.SIGHUP)  # `make reload` would write the figure back
    process = start("streams", tmp_path, HOST=stack.url, N="120", STACK_COMMAND="")
    printed, report = finish(process, tmp_path)
    assert report["steps"] == []
    assert "raise NGINX_PROCESSES" in report["stopped_by"]
    assert "MISSED  120 streams: 0 held" in printed


def test_interrupted_run_reports(stack: Scratch, tmp_path: Path) -> None:
    """Ctrl-C ends it at once, with a report of what was done, and no stream is left open."""
    process = start("streams", tmp_path, HOST=stack.url, STACK_COMMAND="", N="100")
    assert process.stdout is not None
    for line in process.stdout:
        if "no streams:" in line:
            break
    generators = children(process.pid)
    process.send_signal(signal.SIGINT)
    printed, report = finish(process, tmp_path)
    assert process.returncode == 130, printed
    assert report["interrupted"] is True
    assert "Interrupted" in (tmp_path / "report.html").read_text()
    assert len(generators) == 1
    assert not Path(f"/proc/{generators[0]}").exists()


def children(pid: int) -> list[str]:
    """The processes whose parent is `pid`: a run's generators."""
    words = [path for path in Path("/proc").glob("[0-9]*/stat") if parent(path) == pid]
    return [path.parent.name for path in words]


def parent(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return 0
