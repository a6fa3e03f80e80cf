"""The matrix of first starts: each docstring is a setting in which the stack starts, or says in one line why not.

The quick ones run in `make test`, the others are marked long.  Settings with tests of their own:
names that nginx cannot take, and folders of another user: tests/unit/test_names.py;
lines of .env, and a file that is not there: tests/unit/test_env_file.py, beside Compose tests/compose/test_env_file.py;
bytes and marks in upstream.conf: tests/unit/test_upstream.py;
ports that are taken, a reader that goes away: tests/stack/test_run.py;
Docker without client, Compose, engine or registry: tests/unit/test_docker_lacks.py, tests/compose/test_lacks.py;
Docker after the offline way: tests/unit/test_offline.py, tests/compose/test_offline.py;
systemd, and a restored backup: tests/stack/test_backup.py.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

import httpx
import pytest

from deploy.free_port import free_ports
from deploy.native.rotate import MOST_BYTES
from deploy.native.scratch import end_run, scratch_settings, start_run, wait_for_start
from deploy.paths import ROOT
from lab.testbed.servers import wait_until
from tests.conftest import UPSTREAM, StartStack
from tests.stack.operating import operate, run_module
from tests.stack.processes import members, supervisord_pid
from tests.stack.test_makefile import make

pytestmark = pytest.mark.native
# All at once: as CI systems name checkouts, comments of supervisord's files, quotes, other letters, a space at the end.
NAME = "feature%2Fx %(a)s 'My' project #2 ;b ünï {c} & |! "


def copy_of_project(folder: Path) -> Path:
    for name in ("app", "deploy", "nginx"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    return folder


def test_folder_name(tmp_path: Path) -> None:
    """A checkout, and with it STACK_DIR, may be called anything that nginx can take; pages and files are served."""
    root = copy_of_project(tmp_path / NAME)
    settings = scratch_settings(tmp_path, UPSTREAM) | {"STACK_DIR": str(root / ".stack")}
    process = start_run({**os.environ, **settings, "NO_PROXY": "*"}, root)
    try:
        wait_for_start(process)
        url = f"http://127.0.0.1:{settings['HTTP_PORT']}"
        for path in ("/login", "/static/style.css", "/healthz"):
            assert httpx.get(url + path, trust_env=False).status_code == 200, path
    finally:
        assert end_run(process) == 0


def test_temporary_folder(start_stack: StartStack, tmp_path: Path) -> None:
    """TMPDIR may be called anything, and STACK_DIR be too long for sockets; a command with another TMPDIR finds it."""
    (tmp_path / "%2F #t").mkdir()
    long = tmp_path / ("d" * 120)
    stack = start_stack(TMPDIR=str(tmp_path / "%2F #t"), STACK_DIR=str(long))
    environ = {**stack.settings, "STACK": "native", "STACK_DIR": str(long)}
    assert run_module("deploy", "status", **environ).returncode == 0


def test_terminal_with_few_characters(start_stack: StartStack) -> None:
    """Where the terminal's encoding has no … and no −, commands do their work all the same."""
    stack = start_stack(PYTHONIOENCODING="latin-1")
    environ = {"PYTHONIOENCODING": "latin-1", "ENV_FILE": "", "STACK": "native"}
    scaled = subprocess.run(
        [sys.executable, "-m", "deploy", "scale", "3"],
        cwd=ROOT,
        env={**os.environ, **environ, "STACK_DIR": str(stack.state)},
        capture_output=True,
        check=False,
    )
    assert scaled.returncode == 0, scaled.stderr
    assert b" ?\n" in scaled.stdout  # where others see …


@pytest.mark.long
def test_bare_shell(tmp_path: Path) -> None:
    """A first start needs neither HOME nor a terminal, and writes nothing into the checkout when STACK_DIR is elsewhere."""
    root = copy_of_project(tmp_path / "checkout")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    settings = scratch_settings(tmp_path, UPSTREAM)
    bare = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONDONTWRITEBYTECODE": "1"}
    process = start_run({**bare, **settings}, root)
    try:
        wait_for_start(process)
        status = [sys.executable, "-m", "deploy", "status"]
        environ = {**bare, **settings, "STACK": "native"}
        assert subprocess.run(status, cwd=root, env=environ, check=False).returncode == 0
    finally:
        assert end_run(process) == 0
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


@pytest.mark.long
def test_start_after_a_kill(start_stack: StartStack) -> None:
    """Half a second after `make run` was killed, a new one first ends what that has left, and then starts."""
    stack = start_stack()
    stack.process.kill()
    time.sleep(0.5)  # the sentence of the test
    process = start_run({**os.environ, **stack.settings})
    try:
        wait_for_start(process)
        code, said = operate(stack, "status")
        assert code == 0, said
    finally:
        assert end_run(process) == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the Makefile alone, and a .venv that works."""
    shutil.copy2(ROOT / "Makefile", tmp_path)
    venv.create(tmp_path / ".venv", symlinks=True)
    return tmp_path


@pytest.mark.parametrize("command", ["help", "clean"])
@pytest.mark.parametrize("dead", ["gone", "another version"])
def test_dead_venv(folder: Path, command: str, dead: str) -> None:
    """A .venv whose Python is gone or another version is said to be made anew, and every target works."""
    assert "made anew" not in make("help", folder=folder).stdout  # it works still

    python = folder / ".venv/bin/python"
    (lib,) = (folder / ".venv/lib").glob("python*")
    lib.rename(lib.with_name("python3.4"))
    if dead == "gone":
        python.unlink()
        python.symlink_to("/no/such/python")
    done = make(command, folder=folder)

    assert done.returncode == 0, done.stderr
    assert ".venv is made anew" in done.stdout
    assert not (folder / ".venv").exists()


def test_venv_elsewhere(folder: Path) -> None:
    """VENV names another place for .venv; what is there and was not made by make is left alone, by `make clean` too."""
    other = folder / "other"
    venv.create(other, symlinks=True)
    for command in ("help", "clean"):
        refused = make(command, folder=folder, VENV=str(other))
        assert refused.returncode == 2
        assert (
            f"VENV={other} was not made here: name a folder that is not there yet" in refused.stderr
        )

    (other / "made-by-make").touch()
    (other / "bin/python").unlink()  # there is no `python -m deploy stop` here
    assert make("clean", folder=folder, VENV=str(other)).returncode == 0
    assert not other.exists()


def test_name_that_make_or_python_cannot_take(folder: Path) -> None:
    """A checkout with a colon and a VENV with a space are refused in one line; a VENV elsewhere helps with the colon."""
    colon = folder / "a:b"
    colon.mkdir()
    shutil.copy2(ROOT / "Makefile", colon)
    refused = make(".venv/bin/python", folder=colon)
    assert refused.returncode == 2
    assert refused.stderr.startswith(
        "the path of .venv has a colon, which Python cannot have there: rename"
    )
    assert make(f"{folder}/v/bin/python", folder=colon, VENV=f"{folder}/v").returncode == 0

    for name in ("a b", ""):
        refused = make("clean", folder=folder, VENV=name)
        assert refused.returncode == 2
        assert f"VENV={name} must be one name without spaces" in refused.stderr


def test_settings_of_pip_and_python(folder: Path) -> None:
    """What a shell tells pip and Python of other projects does not reach what make runs."""
    shell = {
        "PIP_USER": "1",
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PIP_TARGET": "/no",
        "PIP_PREFIX": "/no",
    }
    python = {"PYTHONSAFEPATH": "1", "PYTHONHOME": "/no"}
    seen = make(
        "--eval=show: ; @env", "show", folder=folder, PYTHON="true", **shell, **python
    ).stdout

    lines = {line for line in seen.splitlines() if line.partition("=")[0] in shell | python}
    assert lines == {"PIP_USER=0", "PIP_REQUIRE_VIRTUALENV=0"}
    assert "made anew" not in seen


@pytest.mark.long
def test_progress_of_an_install(folder: Path) -> None:
    """An install says what it is for and how long it takes, and shows every five seconds that it goes on."""
    shutil.copytree(ROOT / "deploy/requirements", folder / "deploy/requirements")
    python = folder / "slow"
    python.write_text("#!/bin/sh\ncase $* in *install*) sleep 6;; esac\n")
    python.chmod(0o755)
    done = make(".venv/loadtest", folder=folder, PYTHON=str(python))

    assert done.returncode == 0, done.stderr
    assert "installing what the load test needs" in done.stdout
    assert "half a minute to two minutes\ninstalled\n" in done.stdout
    assert done.stderr == "."


def test_mistyped_target(folder: Path) -> None:
    """`make stauts` is answered with the target that was meant; one that is like none, with where they are listed."""
    near, far = make("stauts", folder=folder), make("nonsense", folder=folder)

    assert near.returncode == far.returncode == 2
    assert "there is no target 'stauts'; did you mean 'status'?" in near.stderr
    assert "there is no target 'nonsense': `make` lists them" in far.stderr


def line_of(process: subprocess.Popen[str], text: str) -> str:
    """The next line of its output that has this text in it."""
    assert process.stdout is not None
    return next(line for line in process.stdout if text in line)


@pytest.mark.long
def test_store_that_is_not_there(tmp_path: Path) -> None:
    """While a given Redis refuses, each five seconds a line says which address did what, pipe or terminal."""
    (port,) = free_ports(1)
    settings = scratch_settings(tmp_path, UPSTREAM) | {"REDIS_URL": f"redis://127.0.0.1:{port}/0"}
    process = start_run({**os.environ, **settings})
    try:
        why = f"waits for Redis: no connection to Redis: 127.0.0.1:{port}: Connection refused"
        assert why in line_of(process, "starting: 0 of 5 servers ready; worker-")
    finally:
        assert end_run(process) == 0


@pytest.mark.long
def test_folder_deleted_while_it_runs(start_stack: StartStack) -> None:
    """After `rm -rf .stack` the stack stops and says why; nothing of it is left, and a new one starts there."""
    stack = start_stack()
    leader = supervisord_pid(stack)
    shutil.rmtree(stack.state)

    assert stack.process.wait(30) == 1
    assert f"{stack.state} was deleted while the stack ran" in line_of(stack.process, "error: ")
    assert members(stack, leader) == []


@pytest.mark.long
def test_supervisord_is_stopped(start_stack: StartStack) -> None:
    """A supervisord that is stopped takes nobody else along: pages are served, commands name the remedy."""
    stack = start_stack()
    leader = supervisord_pid(stack)
    os.kill(leader, signal.SIGSTOP)
    try:
        remedy = (
            f"supervisord (process {leader}) is stopped and restarts nothing: `kill -CONT {leader}`"
        )
        assert remedy in line_of(stack.process, "supervisord")
        code, said = operate(stack, "status")
        assert (code, remedy in said) == (1, True), said
        with httpx.Client(base_url=stack.url, trust_env=False) as client:
            address = f"/{'x' * 6000}"  # what is logged of it fills any pipe after a few
            assert {client.get(address).status_code for _ in range(40)} == {404}
    finally:
        stack.process.terminate()  # `make stop`
    assert stack.process.wait(30) == 0
    assert members(stack, leader) == []


def test_log_is_rotated(start_stack: StartStack) -> None:
    """A log that has grown to its limit begins anew, and what it held stays beside it."""
    stack = start_stack()
    log = stack.state / "logs/access.log"
    with httpx.Client(base_url=stack.url, trust_env=False) as client:
        client.get("/before")
        with open(log, "ab") as file:
            file.write(b"x" * MOST_BYTES)
        wait_until(lambda: log.stat().st_size < MOST_BYTES, seconds=10, what="a new log")
        client.get("/after")
    wait_until(lambda: b"/after" in log.read_bytes(), seconds=10, what="a line in the new log")
    assert b"/before" in Path(f"{log}.1").read_bytes()


def test_the_rest_of_the_matrix() -> None:
    """Each file that the list above names is there."""
    named = re.findall(r"tests/[\w/]+\.py", __doc__ or "")
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).is_file()] == []
