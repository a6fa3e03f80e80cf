"""What `make help` promises: each command is run here or by .ci/run, as a user types it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from deploy.free_port import free_ports
from deploy.native.scratch import Scratch, scratch_settings, wait_for_start
from deploy.paths import ROOT
from deploy.upstream.read import read_upstream
from tests.conftest import UPSTREAM, StartStack
from tests.stack.visitor import new_visitor

pytestmark = pytest.mark.native

CI = (ROOT / ".ci/run").read_text()
FILES = ("test_makefile.py", "test_compare.py", "test_longconn.py")
HERE = "".join(Path(__file__).with_name(name).read_text() for name in FILES)
LINES_OF_A_SCREEN, COLUMNS = 25, 80
# These need the package index: one chooses versions, the other asks for advisories (tests/unit/test_supply.py).
NOT_RUN = {"lock", "audit"}


def targets() -> set[str]:
    """The targets that `make help` lists."""
    return set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))


def environ(settings: Mapping[str, str]) -> dict[str, str]:
    """A shell's environment with `settings`, without what this run's own make left in it."""
    own = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"}
    return {name: value for name, value in os.environ.items() if name not in own} | dict(settings)


def make(
    *words: str, typed: str = "", folder: Path = ROOT, **settings: str
) -> subprocess.CompletedProcess[str]:
    """`make`, to its end, with `typed` on its standard input."""
    return subprocess.run(
        ["make", "--no-print-directory", *words],
        cwd=folder,
        env=environ(settings),
        input=typed,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """The settings of a stack in a folder and on ports of its own."""
    return scratch_settings(tmp_path, UPSTREAM)


@pytest.fixture(params=["run", "dev"])
def running(
    request: pytest.FixtureRequest, settings: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """`make run`, or `make dev`, in a terminal of its own, ready."""
    process = subprocess.Popen(
        ["make", "--no-print-directory", request.param],
        cwd=ROOT,
        env=environ(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for_start(process)
        yield process
    finally:
        make("stop", **settings)
        process.communicate(timeout=60)


def test_run_logs_stop(running: subprocess.Popen[str], settings: dict[str, str]) -> None:
    """`make run` and `make dev` serve, `make logs` follows what it does, and `make stop` ends it without an error."""
    with new_visitor(f"http://127.0.0.1:{settings['HTTP_PORT']}") as visitor:
        visitor.log_in()
        visits = visitor.visit()["visits"]
    request_line = first_line_with("/api/visits", settings)
    stopped = make("stop", **settings)

    assert visits == 1
    assert "/api/visits" in request_line
    assert stopped.returncode == 0, stopped.stderr
    assert running.wait(60) == 0


def first_line_with(words: str, settings: Mapping[str, str]) -> str:
    """The first line of `make logs` that holds `words`; it goes on by itself, so it is ended then."""
    with subprocess.Popen(
        ["make", "--no-print-directory", "logs"],
        cwd=ROOT,
        env=environ(settings),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as logs:
        try:
            return next(line for line in logs.stdout or () if words in line)
        finally:
            os.killpg(logs.pid, 2)


def test_user(settings: dict[str, str], tmp_path: Path) -> None:
    """`make user NAME=ann` adds the account under its hash; without a name it says what to write."""
    file = tmp_path / "users"
    own = {"USERS_FILE": str(file), "STACK_DIR": str(tmp_path / "state")}
    added = make("user", "NAME=ann", typed="correct horse battery\n", **own)
    unnamed = make("user", NAME="", **settings)

    assert added.returncode == 0, added.stderr
    assert file.read_text().startswith("ann:$argon2id$")
    assert unnamed.returncode != 0
    assert "make user NAME=ann" in unnamed.stderr


@pytest.mark.parametrize("password", ["ann", "password", "roundrobin1"])
def test_user_with_a_weak_password(password: str, tmp_path: Path) -> None:
    """`make user` refuses a short, a common and a predictable password, and writes nothing."""
    file = tmp_path / "users"
    refused = make("user", "NAME=ann", typed=f"{password}\n", USERS_FILE=str(file))

    assert refused.returncode != 0
    assert "this password is" in refused.stderr or "8 to 1024" in refused.stderr
    assert not file.exists()


def test_user_changed_and_removed(stack: Scratch, tmp_path: Path) -> None:
    """A new password ends the account's sessions, and so does REMOVE=1, which takes it away; others' live on."""
    file, name = tmp_path / "users", "carl of this test"
    settings = settings_of(stack) | {"USERS_FILE": str(file)}
    password = "correct horse battery\n"
    for other in (name, "dora"):
        assert make("user", f"NAME={other}", typed=password, **settings).returncode == 0
    with new_visitor(stack.url) as carl, new_visitor(stack.url) as dora:
        dora.log_in("dora")
        for more in ({}, {"REMOVE": "1"}):
            carl.log_in(name)
            done = make("user", f"NAME={name}", typed=password, **settings, **more)

            assert done.returncode == 0, done.stderr
            assert done.stdout.endswith(f"1 session of {name} ended\n")
            assert carl.get("/api/session").status_code == 401
        assert dora.get("/api/session").status_code == 200
    again = make("user", f"NAME={name}", typed=password, **settings, REMOVE="1")

    assert [line.split(":")[0] for line in file.read_text().splitlines()] == ["dora"]
    assert again.returncode != 0
    assert f"has no account {name}" in again.stderr


def test_end_sessions(stack: Scratch) -> None:
    """`make end-sessions USER=ann` logs ann out everywhere and says how often; a shell's USER is not meant."""
    settings = settings_of(stack)
    with new_visitor(stack.url) as ann, new_visitor(stack.url) as bob:
        ann.log_in("ann of this test")
        bob.log_in("bob of this test")
        ended = make("end-sessions", "USER=ann of this test", **settings)
        unnamed = make("end-sessions", **settings, USER="bob of this test")

        assert ended.returncode == 0, ended.stderr
        assert ended.stdout == "1 session of ann of this test ended\n"
        assert ann.get("/api/session").status_code == 401
        assert unnamed.returncode != 0
        assert "make end-sessions USER=ann" in unnamed.stderr
        assert bob.get("/api/session").status_code == 200


def test_end_sessions_without_a_stack(settings: dict[str, str], tmp_path: Path) -> None:
    """Where no stack runs, it says so, instead of ending nothing in silence."""
    (tmp_path / "docker").write_text("#!/bin/sh\n")  # a Docker in which nothing runs
    (tmp_path / "docker").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    refused = make("end-sessions", "USER=ann", **settings, PATH=path)

    assert refused.returncode != 0
    assert "no stack runs here" in refused.stderr


def test_watch_without_prometheus() -> None:
    """`make watch` without Prometheus says where it comes from."""
    refused = make("watch", ENV_FILE="", PROMETHEUS="/nowhere")

    assert refused.returncode != 0
    assert "PROMETHEUS=/nowhere is not a program: Debian and Ubuntu have it" in refused.stderr


@pytest.mark.long
def test_operating(start_stack: StartStack) -> None:
    """Each command for operating the running stack succeeds and says what it did."""
    settings = settings_of(start_stack())
    said = [
        make("scale", "N=2", **settings),
        make("drain", f"W={first_port(settings)}", **settings),
        make("undrain", f"W={first_port(settings)}", **settings),
        make("rolling-restart", **settings),
        make("check", **settings),
        make("reload", **settings),
        make("status", **settings),
    ]
    unnamed = make("scale", N="", **settings)

    assert [result.stderr for result in said if result.returncode] == []
    assert all("the stack of `make run` at" in result.stdout for result in said)
    assert said[-1].stdout.endswith("healthy\n")
    assert unnamed.returncode != 0
    assert "make scale N=6" in unnamed.stderr


def first_port(settings: Mapping[str, str]) -> int:
    return read_upstream(Path(settings["UPSTREAM_CONF"])).workers[0].port


def settings_of(stack: Scratch) -> dict[str, str]:
    """What a shell needs so that a command means `stack`."""
    return {
        "ENV_FILE": "",
        "HTTP_PORT": str(stack.http_port),
        "STACK_DIR": str(stack.folder / "state"),
        "UPSTREAM_CONF": str(stack.folder / "upstream.conf"),
    }


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What a clone of this folder holds, as it stands now."""
    for name in tracked():
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / "copy" / name)
    return tmp_path / "copy"


def tracked() -> set[str]:
    """The files that came with the clone."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return {name for name in listed.splitlines() if (ROOT / name).exists()}


def test_clean(copy: Path) -> None:
    """`make clean` takes away what was made here, and nothing that came with the clone."""
    made = [copy / name for name in (".stack", ".venv", ".mypy_cache", "app/__pycache__")]
    for folder in made:
        folder.mkdir()
    cleaned = make("clean", folder=copy)

    assert cleaned.returncode == 0, cleaned.stderr
    assert not [folder for folder in made if folder.exists()]
    left = {str(path.relative_to(copy)) for path in copy.rglob("*") if not path.is_dir()}
    assert left == tracked()


def test_format(copy: Path) -> None:
    """`make format` rewrites a file that is not in the project's style."""
    untidy = copy / "app/settings.py"
    tidy = untidy.read_text()
    untidy.write_text(tidy.replace(" = ", "="))
    formatted = make("format", f"VENV={ROOT / '.venv'}", folder=copy)

    assert formatted.returncode == 0, formatted.stdout
    assert untidy.read_text() == tidy


def test_kubernetes_test_without_a_cluster(tmp_path: Path) -> None:
    """`make kubernetes-test` without a cluster says so in one line, and is no success."""
    result = make("kubernetes-test", KUBECONFIG=str(tmp_path / "none"))

    assert result.returncode != 0
    assert "no cluster answers kubectl, so nothing was tested" in result.stderr


def test_help() -> None:
    """`make` alone lists every target with what it does, on one screen of a terminal."""
    lines = make().stdout.splitlines()
    names = [name for line in lines for name in line[8:31].replace(",", "").split()]

    assert set(names) == targets()
    assert len(names) == len(set(names))
    assert all(line[30] == " " and line[31] != " " for line in lines)
    assert len(lines) <= LINES_OF_A_SCREEN
    assert max(map(len, lines)) <= COLUMNS


def test_every_target_is_run() -> None:
    """There is no target that nobody tries: each is run by a test here or by .ci/run."""
    here = set(re.findall(r'make\("([a-z-]+)"|"--no-print-directory", "([a-z-]+)"', HERE))
    by_ci = set(re.findall(r"\bmake ([a-z-]+)", CI))
    run = {name for pair in here for name in pair if name} | by_ci | {"help", "run", "dev"}

    assert targets() - run == NOT_RUN


def test_loadtest_ui(stack: Scratch, tmp_path: Path) -> None:
    """`make loadtest-ui` opens Locust's page, and Ctrl-C ends it."""
    (port,) = free_ports(1)
    settings = {"HOST": stack.url, "WEB_PORT": str(port), "OUT": str(tmp_path)}
    process = subprocess.Popen(
        ["make", "--no-print-directory", "loadtest-ui"],
        cwd=ROOT,
        env=environ(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        transport = httpx.HTTPTransport(retries=8)  # until it listens
        with httpx.Client(transport=transport, trust_env=False) as client:
            shown = client.get(f"http://127.0.0.1:{port}/").text
    finally:
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert "Workers of the stack" in shown
    assert "no run was started" in said
    assert f"http://127.0.0.1:{port}" in said


@pytest.mark.long
def test_bench_loadtest(stack: Scratch) -> None:
    """`make bench-loadtest` prints the three figures and what they may be; here in miniature."""
    short = {"ROUNDS": "1", "ROUND_SECONDS": "2", "SECONDS": "4", "REQUESTS": "5000"}
    said = make("bench-loadtest", HOST=stack.url, **short).stdout
    for line in (
        r"rate with checks +\d+%  >= 60%",
        r"ten minutes, a line on; SECONDS=600 measures +[\d,]+ MiB  < 1,024",
        r"offline check of [\d,]+, processor time +[\d.]+ s  < 30",
    ):
        assert re.search(rf"{line} +(holds|MISSED)\n", said), said
