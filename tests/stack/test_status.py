"""`make status` judges what a visitor would get: each state of Redis is made real, and named with its remedy."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from deploy.native.scratch import Scratch, scratch_stack
from deploy.operations.status import show_status
from deploy.paths import ROOT
from deploy.refused import Refused
from lab.testbed.servers import ClusterOfThree, RedisServer, free_port, running, wait_until
from tests.conftest import UPSTREAM
from tests.stack.operating import done, operate, settings_of, upstream_of
from tests.stack.processes import supervisord_of
from tests.stack.visitor import new_visitor

pytestmark = pytest.mark.native
Spoil = Callable[[RedisServer, Path], object]
NOBODY = 65534


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("redis")


@pytest.fixture(scope="module")
def redis(folder: Path) -> Iterator[RedisServer]:
    """A Redis that these tests spoil, and mend before they end."""
    for server in running(RedisServer(folder, "--enable-protected-configs", "yes")):
        assert isinstance(server, RedisServer)
        yield server


@pytest.fixture(scope="module")
def own(redis: RedisServer) -> Iterator[Scratch]:
    with scratch_stack(UPSTREAM, os.environ, REDIS_URL=redis.url) as stack:
        yield stack


def configured(**values: str) -> Spoil:
    def spoil(server: RedisServer, _: Path) -> None:
        for name, value in values.items():
            server.admin.config_set(name.replace("_", "-"), value)

    return spoil


def save(server: RedisServer, outcome: str) -> None:
    """Take a snapshot, which ends as it must."""

    def facts() -> dict[str, object]:
        found: dict[str, object] = server.admin.info("persistence")
        return found

    wait_until(lambda: not facts()["rdb_bgsave_in_progress"], seconds=10, what="no save")
    server.admin.bgsave()
    wait_until(lambda: facts()["rdb_last_bgsave_status"] == outcome, seconds=10, what=outcome)


def cannot_save(server: RedisServer, folder: Path) -> None:
    lost = folder / "lost"
    lost.mkdir()
    server.admin.config_set("dir", str(lost))
    shutil.rmtree(lost)
    save(server, "err")


def refuses_for_its_disk(server: RedisServer, folder: Path) -> None:
    server.admin.config_set("save", "3600 1")
    cannot_save(server, folder)


def nearly_full(server: RedisServer, _: Path) -> None:
    used = int(server.admin.info("memory")["used_memory"])
    server.admin.config_set("maxmemory", str(used * 100 // 95))


def forbidden(server: RedisServer, _: Path) -> None:
    server.admin.execute_command("ACL", "SETUSER", "default", "-hset")


def mend(server: RedisServer, folder: Path) -> None:
    admin = server.admin
    admin.execute_command("ACL", "SETUSER", "default", "+hset")
    admin.replicaof("NO", "ONE")
    for name, value in (("maxmemory", "0"), ("min-replicas-to-write", "0"), ("dir", str(folder))):
        admin.config_set(name, value)
    save(server, "ok")
    admin.config_set("save", "")


STATES: dict[str, tuple[Spoil, str, str]] = {
    "OOM": (configured(maxmemory="1"), "refuses writes: OOM", "raise maxmemory"),
    "MISCONF": (refuses_for_its_disk, "refuses writes: MISCONF", "make room there"),
    "READONLY": (
        lambda server, _: server.admin.replicaof("127.0.0.1", free_port()),
        "is a replica",
        "point REDIS_URL at the master",
    ),
    "NOREPLICAS": (
        configured(min_replicas_to_write="1"),
        "refuses writes: NOREPLICAS",
        "lower min-replicas-to-write",
    ),
    "NOPERM": (forbidden, "nobody can log in", "deploy/redis/users.acl"),
    "snapshot": (cannot_save, "could not save its last snapshot", "make room on its disk"),
    "memory": (nearly_full, "of its maxmemory", "raise it before logins fail"),
}


@pytest.mark.parametrize("state", STATES)
def test_state(own: Scratch, redis: RedisServer, folder: Path, state: str) -> None:
    """In this state the exit code is 1, in text and in JSON, with the remedy; once mended, 0."""
    spoil, what, remedy = STATES[state]
    try:
        spoil(redis, folder)
        code, said = operate(own, "status")
        json_code, facts = operate(own, "status", "--json")
    finally:
        mend(redis, folder)

    assert (code, json_code, json.loads(facts)["healthy"]) == (1, 1, False)
    assert what in said
    assert remedy in said
    assert done(own, "status").splitlines()[-1] == "healthy"


def test_what_visitors_get(own: Scratch) -> None:
    """The look through nginx leaves no session behind, and says what each step brought."""
    before = json.loads(done(own, "status", "--json"))
    after = json.loads(done(own, "status", "--json"))

    assert after["visitor"] == {"login": None, "page": None, "write": None, "logout": None}
    assert after["redis"]["sessions"] == before["redis"]["sessions"]


def test_readers_go_on(own: Scratch, redis: RedisServer, folder: Path) -> None:
    """While Redis refuses writes, pages are read; with full memory logging out works, too."""
    for state in ("OOM", "MISCONF", "NOREPLICAS"):
        with new_visitor(own.url) as member:
            member.log_in()
            try:
                STATES[state][0](redis, folder)
                pages = {member.get(path).status_code for path in ("/", "/api/session", "/devices")}
                write = member.post("/api/visits", json={"op": state})
                left = member.post("/logout")
            finally:
                mend(redis, folder)

        assert (state, pages, write.status_code) == (state, {200}, 503)
        assert write.json()["may_have_happened"] is False
        assert left.status_code == (302 if state == "OOM" else 503)


@contextmanager
def closed_to_us(folder: Path) -> Iterator[None]:
    """Root becomes somebody else for the block; anybody else takes away his own rights."""
    root = os.geteuid() == 0
    os.seteuid(NOBODY) if root else folder.chmod(0)
    try:
        yield
    finally:
        os.seteuid(0) if root else folder.chmod(0o700)


def test_another_users_folder(own: Scratch) -> None:
    """Of another user's stack, status says whose it is, without a traceback."""
    settings = settings_of(own)
    with (
        closed_to_us(own.folder / "state"),
        pytest.raises(Refused, match="is another user's: run this as"),
    ):
        show_status(settings, as_json=False)


def test_while_it_starts_and_stops(own: Scratch) -> None:
    """A worker that is only just starting is named; asked over and over, status never fails otherwise."""
    names = [f"worker-{port}" for port in own.worker_ports]
    supervisord_of(own).signal_program(names[0], "KILL")
    codes = []
    for _ in range(3):
        code, said = operate(own, "status")
        codes.append(code)
        assert "Traceback" not in said
    wait_until(lambda: operate(own, "status")[0] == 0, seconds=30, what="a healthy stack")

    assert set(codes) <= {0, 1}


def test_servers_elsewhere(own: Scratch) -> None:
    """Servers that this stack does not start are listed; one that does not answer is a problem and a warning."""
    path = upstream_of(own)
    text = path.read_text()
    away, there = free_port(), own.worker_ports[0]
    try:
        path.write_text(
            text.replace(
                "keepalive 128;",
                f"keepalive 128; server 127.0.0.1:{away}; server 127.0.0.2:{there} down;",
            )
        )
        checked, applied = done(own, "check"), done(own, "reload")
        code, said = operate(own, "status")
    finally:
        path.write_text(text)
        done(own, "reload")

    for warned in (checked, applied):
        assert f"127.0.0.1:{away}: this stack does not start it; write `app:{away}`" in warned
    assert code == 1
    assert f"127.0.0.1:{away}  does not answer, started elsewhere" in said
    assert f"127.0.0.1:{away} does not answer, and this stack does not start it" in said
    assert f"127.0.0.2:{there}  does not answer, out of rotation, started elsewhere" in said


@pytest.mark.long
def test_cluster_node_down(tmp_path: Path) -> None:
    """With one node of a cluster down, status names it, and counts what the others hold."""
    for cluster in running(ClusterOfThree(tmp_path)):
        assert isinstance(cluster, ClusterOfThree)
        with scratch_stack(UPSTREAM, os.environ, REDIS_URL=cluster.url) as stack:
            assert done(stack, "status").splitlines()[-1] == "healthy"
            cluster.nodes[2].stop()
            code, said = operate(stack, "status")

        assert code == 1
        assert f"Redis at 127.0.0.1:{cluster.nodes[2].port} does not answer" in said
        assert "Traceback" not in said


def watched(stack: Scratch, seconds: float, **environ: str) -> str:
    """What a terminal of 100 columns and 24 lines is sent by `make status WATCH=1` until Ctrl-C."""
    settings = {**settings_of(stack), "WATCH": "1", "TERM": "xterm", **environ}
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve(sys.executable, [sys.executable, "-m", "deploy", "status"], settings)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    said, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline and said.count(b"req/s") < 2:
        if select.select([terminal], [], [], 0.1)[0]:
            said += os.read(terminal, 65536)
    os.kill(pid, signal.SIGINT)
    with suppress(OSError):  # what Linux says at the end of a terminal
        while chunk := os.read(terminal, 65536):
            said += chunk
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return said.decode()


def test_live(stack: Scratch) -> None:
    """In a terminal status is a table that is drawn again, in colour unless NO_COLOR is set; then the screen is back."""
    painted = watched(stack, 30)
    plain = watched(stack, 30, NO_COLOR="1")

    for said in (painted, plain):
        assert said.count("\x1b[H") >= 2
        assert "healthy" in said
        assert said.endswith("\x1b[?25h\x1b[?1049l")
        assert all(f"127.0.0.1:{port}" in said for port in stack.worker_ports)
    assert f"\x1b[32m127.0.0.1:{stack.worker_ports[0]}" in painted
    assert "\x1b[3" not in plain


def test_live_without_a_terminal(stack: Scratch) -> None:
    """Into a pipe status writes a plain line now and then, and ends with 0 at Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy", "status"],
        cwd=ROOT,
        env={**settings_of(stack), "WATCH": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    said = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=10)

    assert "  healthy  workers 4/4, restarts 0, streams " in said
    assert "\x1b" not in said + rest
    assert process.returncode == 0
