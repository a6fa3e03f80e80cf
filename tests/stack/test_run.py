"""`make run`: what it says, what it refuses, and that it leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.native.scratch import Scratch, scratch_settings
from deploy.paths import ROOT
from lab.testbed.servers import wait_until
from tests.conftest import UPSTREAM, StartStack
from tests.stack.operating import run_module
from tests.stack.processes import is_listening, members, supervisord_pid
from tests.stack.test_login_limit import try_passwords
from tests.stack.tls import trusting
from tests.stack.visitor import new_visitor

pytestmark = pytest.mark.native
GONE_SECONDS = 20.0


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """The settings of a stack that could start, in a folder and on ports of its own."""
    return scratch_settings(tmp_path, UPSTREAM)


def refusal(**settings: str) -> str:
    """The one line with which `run` refuses to start."""
    result = run_module("deploy", "run", **settings)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@contextmanager
def taken(port: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", port)):
        yield


def test_says_where_it_is(start_stack: StartStack) -> None:
    """A start prints the address, how to log in and where the logs are."""
    stack = start_stack()

    assert f"{stack.url}/" in stack.said
    assert "any name and the password `demo`" in stack.said
    logs = re.search(r"logs: (\S+)", stack.said)
    assert logs is not None
    assert (ROOT / logs[1]).resolve() == stack.folder.resolve() / "state/logs"


def test_busy_http_port(settings: dict[str, str]) -> None:
    """A taken HTTP_PORT is named, with the command that chooses another."""
    port = settings["HTTP_PORT"]
    with taken(int(port)):
        line = refusal(**settings)

    assert f"port {port} on 127.0.0.1 is in use" in line
    assert "make run HTTP_PORT=" in line


def test_busy_https_port(settings: dict[str, str]) -> None:
    """A taken HTTPS_PORT is named in the same way."""
    port = settings["HTTPS_PORT"]
    with taken(int(port)):
        line = refusal(**settings)

    assert f"port {port} on 127.0.0.1 is in use" in line
    assert "make run HTTPS_PORT=" in line


def test_busy_worker_port(settings: dict[str, str]) -> None:
    """A worker's taken port is named, with the file and line that hold it, and a command for a second stack."""
    path = Path(settings["UPSTREAM_CONF"])
    number, port = next(
        (number, int(found[1]))
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if (found := re.search(r"server app:(\d+)", line))
    )
    with taken(port):
        line = refusal(**settings)

    assert f"port {port} on 127.0.0.1 is in use" in line
    assert f"{path}, line {number}" in line
    assert "make run UPSTREAM_CONF=second.conf HTTP_PORT=8090" in line


WRONG = {
    "HTTP_PORT": ("abc", "HTTP_PORT=abc is not a number"),
    "HTTPS_PORT": ("abc", "HTTPS_PORT=abc is not a number"),
    "BIND": ("everywhere", "BIND=everywhere is not an address"),
    "DRAIN_SECONDS": ("0", "DRAIN_SECONDS=0 must be between 1 and 300"),
    "UPSTREAM_CONF": ("/no/such/file", "/no/such/file: there is no such file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_setting(settings: dict[str, str], name: str) -> None:
    """A setting that cannot be used is named, with its value."""
    value, text = WRONG[name]

    assert text in refusal(**{**settings, name: value})


def test_address_of_another_machine(settings: dict[str, str]) -> None:
    """A BIND that this machine does not have is named."""
    line = refusal(**{**settings, "BIND": "192.0.2.1"})

    assert "BIND=192.0.2.1 is not an address of this machine" in line


def test_wrong_setting_of_the_app(settings: dict[str, str]) -> None:
    """A setting only the workers read ends the start at once, with the worker's own message."""
    result = run_module("deploy", "run", **settings, SESSION_IDLE_SECONDS="abc")

    assert result.returncode == 1
    assert "SESSION_IDLE_SECONDS=abc is not a number" in result.stderr
    assert not is_listening(int(settings["HTTP_PORT"]))


def test_nginx_names_the_original(settings: dict[str, str]) -> None:
    """What nginx refuses is told with the file and line that the user edits, not the rendered copy's."""
    path = Path(settings["UPSTREAM_CONF"])
    text = path.read_text()
    line = text[: text.index("keepalive 128;")].count("\n") + 1
    path.write_text(text.replace("keepalive 128;", "keepalive many;"))
    result = run_module("deploy", "run", **settings)

    assert result.returncode == 1
    assert 'invalid value "many"' in result.stderr
    assert f"{path}:{line}" in result.stderr


def wait_until_gone(stack: Scratch, leader: int) -> None:
    ports = (stack.http_port, stack.https_port, *stack.worker_ports)
    wait_until(
        lambda: not members(stack, leader) and not any(map(is_listening, ports)),
        seconds=GONE_SECONDS,
        what="every process of the stack has ended",
    )


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_stops_cleanly(start_stack: StartStack, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end every process and exit with 0."""
    stack = start_stack()
    leader = supervisord_pid(stack)
    assert len(members(stack, leader)) > len(stack.worker_ports)
    stack.process.send_signal(number)

    assert stack.process.wait(GONE_SECONDS) == 0
    assert members(stack, leader) == []
    assert not any(map(is_listening, (stack.http_port, *stack.worker_ports)))


def test_output_that_nobody_reads(start_stack: StartStack) -> None:
    """Where whoever read the output has gone, as in `make run | head`, the stack serves on, and stops cleanly."""
    stack = start_stack()
    assert stack.process.stdout is not None
    stack.process.stdout.close()
    stack.process.send_signal(signal.SIGTERM)

    assert stack.process.wait(GONE_SECONDS) == 0


def kill_run(stack: Scratch, leader: int) -> None:
    stack.process.kill()


def kill_supervisord(stack: Scratch, leader: int) -> None:
    os.kill(leader, signal.SIGKILL)


def kill_both_and_stop(stack: Scratch, leader: int) -> None:
    os.kill(leader, signal.SIGSTOP)  # or it would notice the death of its parent first
    stack.process.kill()
    os.kill(leader, signal.SIGKILL)
    folder, upstream = str(stack.folder / "state"), str(stack.folder / "upstream.conf")
    result = run_module("deploy", "stop", STACK_DIR=folder, UPSTREAM_CONF=upstream)
    assert result.stdout == "stopped\n"


@pytest.mark.parametrize(
    "kill",
    [
        kill_both_and_stop,
        pytest.param(kill_run, marks=pytest.mark.long),
        pytest.param(kill_supervisord, marks=pytest.mark.long),
    ],
)
def test_killed(start_stack: StartStack, kill: Callable[[Scratch, int], None]) -> None:
    """Whichever of `run` and supervisord is killed, the rest ends; of both, `stop` clears up."""
    stack = start_stack()
    leader = supervisord_pid(stack)
    kill(stack, leader)

    wait_until_gone(stack, leader)


def test_stop_from_elsewhere(start_stack: StartStack) -> None:
    """`stop` ends a running stack, which then exits with 0; a second one finds nothing."""
    stack = start_stack()
    leader = supervisord_pid(stack)
    folder, upstream = str(stack.folder / "state"), str(stack.folder / "upstream.conf")
    results = [
        run_module("deploy", "stop", STACK_DIR=folder, UPSTREAM_CONF=upstream) for _ in range(2)
    ]

    assert [result.stdout for result in results] == ["stopped\n", "nothing is running\n"]
    assert stack.process.wait(GONE_SECONDS) == 0
    assert members(stack, leader) == []


def test_state_is_private(stack: Scratch) -> None:
    """The generated secret, and the folder with all the state, can be read by their owner alone."""
    folder = stack.folder / "state"

    assert stat.S_IMODE((folder / "session-secret").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def private_folders() -> set[Path]:
    """Where sockets are whose path would be too long."""
    return set(Path("/tmp").glob(f"stack-{os.getuid()}-*"))


@pytest.mark.parametrize(
    "name", ["a folder with spaces", pytest.param("long-" + "x" * 120, marks=pytest.mark.long)]
)
def test_any_folder(start_stack: StartStack, tmp_path: Path, name: str) -> None:
    """The stack runs in a folder whose name has spaces, or is too long for a socket file."""
    before = private_folders()
    stack = start_stack(STACK_DIR=str(tmp_path / name))
    with new_visitor(stack.url) as visitor:
        visitor.log_in()

        assert visitor.visit()["visits"] == 1
    stack.process.terminate()

    assert stack.process.wait(GONE_SECONDS) == 0
    assert private_folders() <= before


@pytest.mark.long
def test_every_address(start_stack: StartStack) -> None:
    """BIND=:: serves IPv6 and IPv4, over http and https, and visitors of this machine are exempt on both."""
    stack = start_stack(BIND="::")
    found = {}
    for host in ("[::1]", "127.0.0.1"):
        for site in (f"http://{host}:{stack.http_port}", f"https://{host}:{stack.https_port}"):
            with new_visitor(site, verify=trusting(stack)) as visitor:
                found[site] = try_passwords(visitor)[-1].status_code
                visitor.log_in("ann")
                shown = visitor.get("/api/devices").json()["devices"]
                assert host.strip("[]") in {device["address"] for device in shown}

    assert set(found.values()) == {401}, found


def test_given_user(start_stack: StartStack, tmp_path: Path) -> None:
    """An account made with `user` logs in, in production too, where the demo password does not."""
    users = tmp_path / "users"
    own = {"USERS_FILE": str(users), "STACK_DIR": str(tmp_path / "state")}
    assert run_module("deploy", "user", "ann", typed="a good password\n", **own).returncode == 0
    stack = start_stack(
        APP_ENV="production", USERS_FILE=str(users), SESSION_SECRETS="s" * 32, DEMO_ENDPOINTS=""
    )
    with new_visitor(stack.https_url, verify=trusting(stack)) as visitor:
        wrong = visitor.post("/login", data={"username": "ann", "password": "demo"})
        visitor.log_in("ann", "a good password")

        assert wrong.status_code == 401
        assert visitor.session()["user"] == "ann"


def test_with_stack(stack: Scratch) -> None:
    """`with-stack` runs a command against the stack at HOST, tells it what to expect, returns its code."""
    names = ("HOST", "WORKERS", "WEIGHTS", "POLICY")
    script = f"import os; print(*map(os.environ.get, {names})); exit(7)"
    result = run_module("deploy", "with-stack", "--", sys.executable, "-c", script, HOST=stack.url)

    assert result.stdout.splitlines()[-1] == f"{stack.url} 4 1,1,1,1 round_robin"
    assert result.returncode == 7


@pytest.mark.long
def test_with_stack_starts_one(settings: dict[str, str]) -> None:
    """Where none runs, `with-stack` starts a stack with the login given, and ends it afterwards."""
    script = (
        "import os, urllib.request as u; form = b'username=ann&password=a+word+of+mine';"
        "print(u.urlopen(os.environ['HOST'] + '/login', form).status)"
    )
    environ = {**settings, "HOST": "", "DEMO_PASSWORD": "a word of mine"}
    result = run_module("deploy", "with-stack", "--", sys.executable, "-c", script, **environ)

    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "200")


LATE = """
import signal, sys, time, urllib.request
def stop(*_):
    time.sleep(0.5)
    print("still", urllib.request.urlopen(sys.argv[1] + "/login").status, flush=True)
    sys.exit(9)
signal.signal(signal.SIGINT, stop)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(30)
"""


@pytest.mark.parametrize("everybody", [True, False])
def test_with_stack_waits_for_its_command(stack: Scratch, everybody: bool) -> None:
    """Ctrl-C, or SIGTERM to with-stack alone, lets the command end in its own time and way."""
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy", "with-stack", "--", sys.executable, "-c", LATE, stack.url],
        cwd=ROOT,
        env={**os.environ, "ENV_FILE": "", "HOST": stack.url},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    while "ready" not in process.stdout.readline():
        pass
    if everybody:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.terminate()
    said, _ = process.communicate(timeout=20)
    assert (process.returncode, said.strip()) == (9, "still 200")


def test_with_stack_needs_the_given_one() -> None:
    """A HOST at which nothing answers is an error: silence must not start another stack instead."""
    result = run_module("deploy", "with-stack", "--", "true", HOST="http://127.0.0.1:9")

    assert result.returncode == 1
    assert "no stack answers at HOST=http://127.0.0.1:9" in result.stderr
