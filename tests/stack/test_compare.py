"""The comparison of policies against real nginx: what it reports, and that it can report nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from deploy.native.scratch import Scratch, scratch_stack
from lab.policies.difference import LEAST_MS
from lab.policies.fronts import FRONTS, running_fronts
from loadtest.check.history import read_ops
from loadtest.check.op import Kind, Op, Outcome
from loadtest.verdict.verdict import Code
from tests.conftest import UPSTREAM, StartStack
from tests.stack.measuring import finish, start
from tests.stack.operating import done, settings_of
from tests.stack.test_makefile import make

pytestmark = [pytest.mark.native, pytest.mark.long]

POLICIES = ["round_robin", "least_conn", "random_two", "ip_hash", "sticky_cookie"]
SHORT = {"QUICK": "1", "ROUNDS": "2", "RUN_SECONDS": "0.3"}
TRAPS = ["failing_round_robin", "failing_least_conn", "failing_retried"]


def start_with(fronts: dict[str, str], out: Path, **settings: str) -> subprocess.Popen[str]:
    given = " ".join(f"{name}={url}" for name, url in fronts.items())
    return start("policies", out, **(SHORT | {"FRONTS": given} | settings))


@pytest.fixture(scope="module")
def busy() -> Iterator[Scratch]:
    """A running stack that balances by another policy than the plain one, and listens on every address."""
    with scratch_stack(UPSTREAM, os.environ, BIND="0.0.0.0") as stack:
        text = stack.upstream_conf.read_text()
        stack.upstream_conf.write_text(text.replace("zone app 512k;", "zone app 512k; least_conn;"))
        done(stack, "reload")
        yield stack


@pytest.fixture(scope="module")
def compared(
    busy: Scratch, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, Any], Path]:
    """`make compare` of the running stack, as short as it gets: what it printed, its report, its folder."""
    out = tmp_path_factory.mktemp("compare")
    own = settings_of(busy)
    ran = make("compare", **own, **SHORT, WORKLOADS="awaited nat", OUT=str(out))
    # 13: the machine was so busy that no cell is valid. That is reported, and checked like the rest.
    assert ran.returncode == 0 or "Error 13" in ran.stderr, ran.stdout + ran.stderr
    return ran.stdout, json.loads((out / "report.json").read_text()), out


def test_figures_are_those_of_the_history(compared: tuple[str, dict[str, Any], Path]) -> None:
    """The reported means follow from the stored requests, counted again."""
    _, report, out = compared
    ops = {op.number: op for op in read_ops(out / "history.jsonl")}
    for workload, content in report["workloads"].items():
        for policy, cell in content["policies"].items():
            wanted = {"policy": policy, "workload": workload}
            runs = [run for run in report["runs"] if wanted.items() <= run.items()]
            assert len(runs) == 2
            latencies = [ms for run in runs for ms in fast_latencies(ops, *run["numbers"])]
            assert len(latencies) == cell["fast_requests"] > 0
            mean = sum(latencies) / len(latencies)
            assert mean == pytest.approx(cell["milliseconds"]["mean"], abs=0.01)


def fast_latencies(ops: dict[int, Op], first: int, last: int) -> list[float]:
    """Milliseconds from due to answered, of the fast requests with numbers in a range."""
    found = [ops[number] for number in range(first, last + 1)]
    return [
        (op.returned - op.intended) / 1e6
        for op in found
        if op.kind in (Kind.READ, Kind.VISIT) and op.outcome is Outcome.OK and op.intended
    ]


def test_words_are_those_of_the_figures(compared: tuple[str, dict[str, Any], Path]) -> None:
    """Faster, slower and none follow from the ratios and the noise, in every place they stand."""
    printed, report, out = compared
    page = (out / "report.html").read_text()
    for content in report["workloads"].values():
        base = content["policies"]["round_robin"]
        for policy, cell in content["policies"].items():
            said = cell["against_round_robin"]
            if said["word"] == "invalid":
                assert cell["invalid"] or base["invalid"] or content["noise"] is None
                continue
            ratio = cell["milliseconds"]["mean"] / base["milliseconds"]["mean"]
            assert said["ratio"] == pytest.approx(ratio, rel=0.01)
            if said["word"] == "slower":
                assert ratio > content["noise"] * 0.99
            if said["word"] == "faster":
                assert ratio < 1.01 / content["noise"]
            if said["word"] != "none":
                apart = cell["milliseconds"]["mean"] - base["milliseconds"]["mean"]
                assert abs(apart) > LEAST_MS - 0.01
            if policy != "round_robin":
                roundings = (f"{said['ratio'] + less:.2f} (" for less in (-0.0006, 0, 0.0006))
                assert any(text in printed for text in roundings)
    for sentence in report["findings"]:
        assert sentence in printed
    assert page.count("<svg") == 3
    assert {path.name for path in out.glob("*.png")} == {"curves.png", "means.png", "trap.png"}


def test_workers_of_the_running_stack(
    compared: tuple[str, dict[str, Any], Path], busy: Scratch
) -> None:
    """The workers that answered are those of the stack that runs."""
    printed, report, _ = compared
    cell = report["workloads"]["nat"]["policies"]["round_robin"]
    assert f"using the stack of `make run` at {busy.url}" in printed
    assert set(cell["answers_by_worker"]) == {f"127.0.0.1:{port}" for port in busy.worker_ports}


def test_policies_are_what_they_say(compared: tuple[str, dict[str, Any], Path]) -> None:
    """Behind one address ip_hash uses one worker, and round robin all four evenly."""
    _, report, _ = compared
    cells = report["workloads"]["nat"]["policies"]
    assert set(cells) == {*POLICIES, "round_robin_again"}
    assert len(cells["ip_hash"]["answers_by_worker"]) == 1
    counts = cells["round_robin"]["answers_by_worker"].values()
    assert len(counts) == 4
    assert max(counts) - min(counts) <= 6
    assert len(report["workloads"]["awaited"]["policies"]["ip_hash"]["answers_by_worker"]) > 1


def test_no_session_was_wrong(compared: tuple[str, dict[str, Any], Path]) -> None:
    """Whatever the policy, no session was ever wrong."""
    printed, report, _ = compared
    assert report["violations"] == 0
    assert "0 violations; the online and the offline checker agree" in printed


def test_trap_is_sprung(compared: tuple[str, dict[str, Any], Path]) -> None:
    """A failing worker gets its quarter under round robin, and nothing reaches users with a retry."""
    _, report, _ = compared
    assert set(report["trap"]) == set(TRAPS)
    shares = {name: found["failed"] / found["asked"] for name, found in report["trap"].items()}
    assert shares["failing_round_robin"] == pytest.approx(0.25, abs=0.05)
    assert shares["failing_least_conn"] > 0
    assert shares["failing_retried"] == 0


def test_the_same_policy_five_times(stack: Scratch, tmp_path: Path) -> None:
    """When every policy is secretly round robin, the report says that there is no difference."""
    fronts = dict.fromkeys(POLICIES, stack.url)
    process = start_with(fronts, tmp_path, WORKLOADS="blocking", RUN_SECONDS="0.5", ROUNDS="3")
    printed, report = finish(process, tmp_path)
    content = report["workloads"]["blocking"]
    words = {cell["against_round_robin"]["word"] for cell in content["policies"].values()}
    assert words <= {"none", "invalid"}, printed
    if "invalid" not in words:
        assert "no difference between the policies beyond noise and chance" in printed
        assert "did not show here" in printed
    assert "confirmed" not in printed
    assert "corrected" not in printed


def test_a_stack_without_slow_calls_is_refused(start_stack: StartStack, tmp_path: Path) -> None:
    """Where /slow is switched off nothing is measured: exit code 14 at once, and its name."""
    stack = start_stack(DEMO_ENDPOINTS="0")
    process = start_with({"round_robin": stack.url}, tmp_path)
    printed, report = finish(process, tmp_path)
    assert process.returncode == Code.NOT_REACHABLE, printed
    assert printed == "error: GET /slow is missing: the stack needs DEMO_ENDPOINTS=1\n"
    assert report == {}


def test_interrupted_comparison_reports(stack: Scratch, tmp_path: Path) -> None:
    """Ctrl-C ends it at once, with a report of the rounds that were finished."""
    fronts = {"round_robin": stack.url}
    process = start_with(
        fronts, tmp_path, WORKLOADS="awaited blocking", RUN_SECONDS="0.4", ROUNDS="50"
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "round 1 of 50, awaited" in line:
            break
    process.send_signal(signal.SIGINT)
    _, report = finish(process, tmp_path)
    assert process.returncode == 130
    assert report["interrupted"] is True
    assert list(report["workloads"]) == ["awaited"]
    assert "Interrupted" in (tmp_path / "report.html").read_text()


def seen_address(url: str, source: str) -> str:
    """The address a worker is told, for a client at `source` that says it speaks for another."""
    parts = urlsplit(url)
    forwarded = {"X-Forwarded-For": "198.18.1.7"}
    connection = HTTPConnection(parts.hostname or "", parts.port, source_address=(source, 0))
    form = urlencode({"username": f"address-{source}", "password": "demo", "next": "/"})
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/login", form, forwarded | kind)
    answer = connection.getresponse()
    answer.read()
    cookie = str(answer.headers["Set-Cookie"]).partition(";")[0]
    connection.request("GET", "/api/devices", headers=forwarded | {"Cookie": cookie})
    devices = json.load(connection.getresponse())["devices"]
    connection.close()
    return next(str(device["address"]) for device in devices if device["current"])


def test_forwarded_address_is_believed_from_the_generator_alone(stack: Scratch) -> None:
    """Fronts of a comparison believe 127.0.0.1 and nobody else; the stack itself believes nobody."""
    assert seen_address(stack.url, "127.0.0.1") == "127.0.0.1"
    with running_fronts(stack, {"ip_hash": FRONTS["ip_hash"]}) as fronts:
        assert seen_address(fronts["ip_hash"], "127.0.0.1") == "198.18.1.7"
        if can_bind("127.0.0.2"):  # Linux; elsewhere loopback is one address
            assert seen_address(fronts["ip_hash"], "127.0.0.2") == "127.0.0.2"


def can_bind(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
