"""Operating a native stack under load: nothing is lost, mistakes are refused, and Ctrl-C does no harm."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from deploy.free_port import free_ports
from deploy.native.scratch import Scratch, scratch_stack
from deploy.operations import reload as reload_module
from deploy.operations.find import find_stack
from deploy.operations.restart import rolling_restart
from deploy.operations.status import show_status
from deploy.refused import Refused
from lab.operations.load import failures
from tests.conftest import UPSTREAM, StartStack
from tests.stack.operating import (
    assert_nothing_lost,
    begin,
    done,
    operate,
    ports_of,
    settings_of,
    under_load,
    upstream_of,
)
from tests.stack.processes import boot_of, is_listening, supervisord_of
from tests.stack.test_events import SOON_SECONDS, Stream
from tests.stack.visitor import new_visitor

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def own() -> Iterator[Scratch]:
    """A stack for the operations of this file; each test gives its file back and reloads."""
    with scratch_stack(UPSTREAM, os.environ) as stack:
        yield stack


@pytest.fixture
def stack(own: Scratch) -> Iterator[Scratch]:
    """`own`, with its upstream file and its workers put back afterwards."""
    text = upstream_of(own).read_bytes()
    yield own
    upstream_of(own).write_bytes(text)
    done(own, "reload")


def edit(stack: Scratch, old: str, new: str) -> None:
    """Change the upstream file as an editor does: a new file takes its name."""
    path = upstream_of(stack)
    text = path.read_text()
    assert old in text, old
    draft = path.with_suffix(".swp")
    draft.write_text(text.replace(old, new, 1))
    draft.replace(path)


def answering(stack: Scratch, count: int = 60) -> set[int]:
    """The ports of the workers that answer requests now."""
    names = set()
    with httpx.Client(base_url=stack.url, trust_env=False, timeout=10) as client:
        for _ in range(count):
            names.add(client.get("/login").headers["X-Served-By"])
    return {int(name.rpartition(":")[2]) for name in names}


def status(stack: Scratch) -> dict[str, object]:
    code, said = operate(stack, "status", "--json")
    facts: dict[str, object] = json.loads(said)
    assert (code == 0) == facts["healthy"]
    return facts


# --- nothing is lost -------------------------------------------------------------------------------


def reload_thrice(stack: Scratch) -> None:
    for _ in range(3):
        done(stack, "reload")


def scale_up_and_down(stack: Scratch) -> None:
    done(stack, "scale", "8")
    assert len(answering(stack)) == 8
    done(stack, "scale", "3")
    assert len(answering(stack)) == 3


def drain_and_undrain(stack: Scratch) -> None:
    port = ports_of(stack)[1]
    assert "is idle" in done(stack, "drain", str(port))
    assert port not in answering(stack)
    assert is_listening(port)
    done(stack, "undrain", str(port))
    assert port in answering(stack)


def restart_all(stack: Scratch) -> None:
    before = [boot_of(port) for port in ports_of(stack)]
    done(stack, "rolling-restart")
    after = [boot_of(port) for port in ports_of(stack)]
    assert None not in after
    assert not set(before) & set(after)


OPERATIONS = [
    reload_thrice,
    *(
        pytest.param(operation, marks=pytest.mark.long)
        for operation in (scale_up_and_down, drain_and_undrain, restart_all)
    ),
]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_is_lost(stack: Scratch, operation: Callable[[Scratch], None]) -> None:
    """No GET and no POST fails, and every session counts right, while this is done."""
    assert_nothing_lost(under_load(stack, lambda: operation(stack)))


@pytest.mark.long
def test_loss_is_noticed(start_stack: StartStack) -> None:
    """Workers that are killed one after the other, instead of drained, do cost requests."""
    stack = start_stack()

    def kill_all() -> None:
        for port in stack.worker_ports:
            supervisord_of(stack).signal_program(f"worker-{port}", "KILL")

    assert failures(under_load(stack, kill_all), "POST")


# --- what an edit does -----------------------------------------------------------------------------


def test_streams_move(stack: Scratch) -> None:
    """A reload has event streams come again through the new nginx, long before the old one cuts them off."""
    with new_visitor(stack.url) as member:
        member.log_in()
        streams = [Stream(member) for _ in range(8)]
        assert all(stream.begun.wait(5) for stream in streams)
        done(stack, "reload")
        assert all(stream.hears('"within_ms":2000', SOON_SECONDS) for stream in streams)
        assert all(stream.over.wait(SOON_SECONDS) for stream in streams)
        assert Stream(member).begun.wait(5)


def test_edited_by_hand(stack: Scratch) -> None:
    """A line more, a line less and a weight, in one edit: said in words, served at once, old worker gone."""
    old, changed = ports_of(stack)[1], ports_of(stack)[2]
    (new,) = free_ports(1)
    edit(stack, f"server app:{old} ", f"server app:{new} ")
    edit(stack, f"server app:{changed} ", f"server app:{changed} weight=3 ")
    said = done(stack, "reload")

    for words in (f"+ {new}", f"− {old}", f"{changed} weight 1 → 3"):
        assert words in said
    assert answering(stack) == set(ports_of(stack))
    assert not is_listening(old)


@pytest.mark.parametrize(
    "policy", ["least_conn", "random two", "ip_hash", "hash $cookie_sid consistent"]
)
def test_policy(stack: Scratch, policy: str) -> None:
    """Another policy is applied, and named with what it means for the proof."""
    edit(stack, "keepalive 128;", f"keepalive 128; {policy};")
    said = done(stack, "reload")

    assert f"algorithm: round robin → {policy} (sessions stay shared" in said
    assert status(stack)["algorithm"] == policy


def test_windows_line_ends(stack: Scratch) -> None:
    """Windows line ends and a missing last one are nothing to complain about."""
    path = upstream_of(stack)
    path.write_bytes(path.read_text().rstrip("\n").replace("\n", "\r\n").encode())
    assert "has not changed" in done(stack, "reload")
    done(stack, "scale", "5")

    assert path.read_bytes().count(b"\r\n") == path.read_bytes().count(b"\n")
    assert len(answering(stack)) == 5


def test_check_changes_nothing(stack: Scratch) -> None:
    """`check` says what a reload would change, and changes nothing."""
    before = status(stack)["nginx"]
    edit(stack, f"server app:{ports_of(stack)[0]} ", f"server app:{ports_of(stack)[0]} down ")
    said = done(stack, "check")

    assert f"{ports_of(stack)[0]} out of rotation (down)" in said
    assert len(answering(stack)) == 4
    after = status(stack)["nginx"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert after["generation_age_seconds"] >= before["generation_age_seconds"]


# --- what is refused -------------------------------------------------------------------------------

REFUSED = {
    "no semicolon": ("keepalive 128;", "keepalive 128", "upstream.conf"),
    "unknown directive": ("keepalive 128;", "least_con;", 'unknown directive "least_con"'),
    "unknown parameter": (
        "max_fails=1 fail_timeout=1s r",
        "max_fail=1 r",
        "knows no server parameter",
    ),
    "commercial": ("max_fails=1 fail_timeout=1s r", "slow_start=5s r", "commercial nginx only"),
    "no zone": ("zone app 512k;", "", "the zone is missing"),
    "backup with hash": ("resolve;\n}", "backup;\nhash $uri;\n}", "does not go with hash"),
    "no such name": ("keepalive 128;", "server no.such.invalid:80;", "cannot be resolved"),
    "port of root": ("keepalive 128;", "server app:80;", "from 1024 up"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_mistake_is_refused(stack: Scratch, mistake: str) -> None:
    """A mistake is refused with the file and what is wrong; the file stays, and the old one serves."""
    old, new, words = REFUSED[mistake]
    before = set(ports_of(stack))
    edit(stack, old, new)
    written = upstream_of(stack).read_text()
    code, said = operate(stack, "reload")
    checked, _ = operate(stack, "check")

    assert (code, checked) == (1, 1)
    assert words in said
    assert re.search(rf"{re.escape(str(upstream_of(stack)))}(, line \d+|:\d+|: the zone)", said)
    assert "keeps serving" in said
    assert upstream_of(stack).read_text() == written
    assert answering(stack) == before


def test_same_server_twice(stack: Scratch) -> None:
    """A server listed twice is refused with both lines."""
    port = ports_of(stack)[0]
    edit(stack, "keepalive 128;", f"server app:{port};")
    code, said = operate(stack, "reload")

    assert code == 1
    assert f"app:{port} is already on line" in said


def test_nobody_left(stack: Scratch) -> None:
    """Draining the last server in rotation is refused, and the file is as it was before."""
    done(stack, "scale", "1")
    before = upstream_of(stack).read_text()
    code, said = operate(stack, "drain", str(ports_of(stack)[0]))

    assert code == 1
    assert "no server is in use" in said
    assert upstream_of(stack).read_text() == before
    assert operate(stack, "rolling-restart")[0] == 1


def test_taken_port(stack: Scratch) -> None:
    """A port that something else listens on is refused with its line, before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        edit(stack, "keepalive 128;", f"server app:{port};")
        code, said = operate(stack, "reload")

    assert code == 1
    assert re.search(rf"line \d+: port {port} is in use by another program", said)


@pytest.mark.long
def test_workers_that_have_just_started(start_stack: StartStack) -> None:
    """Workers may be restarted at once after a start, and again after a restart."""
    stack = start_stack(workers=2)
    restart_all(stack)
    restart_all(stack)


@pytest.mark.long
def test_worker_that_cannot_start(start_stack: StartStack) -> None:
    """A new worker that ends at its start is refused, a restart touches none then, and the stack lives on."""
    stack = start_stack(workers=2)
    secret = stack.folder / "state/session-secret"
    kept = secret.read_text()
    secret.write_text("")
    boots = [boot_of(port) for port in stack.worker_ports]
    code, said = operate(stack, "scale", "3")
    assert code == 1
    assert "ended while it started" in said
    assert "session-secret is empty" in said
    code, said = operate(stack, "rolling-restart")
    assert code == 1
    assert "session-secret is empty" in said
    assert [boot_of(port) for port in stack.worker_ports] == boots
    assert status(stack)["healthy"] is False  # nobody can log in
    secret.write_text(kept)
    done(stack, "rolling-restart")

    assert status(stack)["healthy"] is True
    assert stack.process.poll() is None


def test_restart_stops_at_the_first(stack: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does not come back ends a rolling restart, which says how many it has left alone."""
    asked: list[int] = []

    def restart(_: object, port: int) -> None:
        asked.append(port)
        raise Refused("it does not come back")

    monkeypatch.setattr("deploy.supervisor.workers.Workers.restart", restart)
    with pytest.raises(Refused, match="3 workers were not touched"):
        rolling_restart(settings_of(stack))
    assert asked == [stack.worker_ports[0]]


def test_not_verified(stack: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the new configuration does not serve as it should, the old one is put back, without a loss."""

    def refuse(*_: object) -> int:
        raise Refused("nobody answers")

    monkeypatch.setattr(reload_module, "verify", refuse)
    before = upstream_of(stack).read_text()
    (new,) = free_ports(1)
    edit(stack, "keepalive 128;", f"keepalive 128; server app:{new};")
    written = upstream_of(stack).read_text()

    def fail() -> None:
        with pytest.raises(Refused, match="nobody answers"):
            reload_module.reload(settings_of(stack))

    assert_nothing_lost(under_load(stack, fail))
    assert upstream_of(stack).read_text() == before
    assert (stack.folder / "state/upstream.conf.refused").read_text() == written
    assert not is_listening(new)


def test_one_operation_at_a_time(stack: Scratch) -> None:
    """While one operation is under way, another is refused."""
    first = begin(stack, "scale", "5")
    next(line for line in first.stdout or () if line.startswith("starting"))
    first.send_signal(signal.SIGSTOP)  # so that it is under way for as long as the other asks
    code, said = operate(stack, "reload")
    first.send_signal(signal.SIGCONT)
    first.communicate(timeout=60)

    assert code == 1
    assert "another operation is under way" in said


def test_no_stack(tmp_path: Path) -> None:
    """Where no stack runs, each operation says so, and how to start one."""
    environ = {"STACK_DIR": str(tmp_path), "ENV_FILE": "", "STACK": "native"}
    assert find_stack(environ) is None
    for work in (
        lambda: reload_module.reload(environ),
        lambda: show_status(environ, as_json=False),
    ):
        with pytest.raises(Refused, match="start one with `make run` or `docker compose up`"):
            work()


# --- Ctrl-C ----------------------------------------------------------------------------------------

MOMENTS = [
    pytest.param(("scale", "6"), "starting", marks=pytest.mark.long),
    pytest.param(("scale", "6"), "reloading", marks=pytest.mark.long),
    pytest.param(("scale", "3"), "waiting", marks=pytest.mark.long),
    pytest.param(("scale", "3"), "draining", marks=pytest.mark.long),
    (("rolling-restart",), "1 of 4"),
]


@pytest.mark.parametrize(("words", "moment"), MOMENTS)
def test_interrupted(stack: Scratch, words: tuple[str, ...], moment: str) -> None:
    """Ctrl-C at this moment costs no request, and a reload afterwards leads to what the file says."""

    def interrupt() -> None:
        process = begin(stack, *words)
        said = _read_until(process, moment)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        assert process.returncode == 130, said + rest
        done(stack, "reload")

    assert_nothing_lost(under_load(stack, interrupt))
    assert answering(stack) == set(ports_of(stack))
    assert status(stack)["healthy"] is True


def _read_until(process: subprocess.Popen[str], words: str) -> str:
    """What a process says, up to the first time it says `words`."""
    said = ""
    while words not in said:
        character = process.stdout.read(1) if process.stdout else ""
        assert character, said
        said += character
    return said


# --- status ----------------------------------------------------------------------------------------


def test_status(stack: Scratch) -> None:
    """The table has each worker's share of the last minute, nginx, Redis with its sessions, OpenSSL and the policy."""
    under_load(stack, lambda: None)
    facts = status(stack)
    workers = facts["workers"]
    assert isinstance(workers, list)
    shares = [worker["share"] for worker in workers]
    table = done(stack, "status")

    assert sum(shares) == pytest.approx(1, abs=0.001)
    assert all(worker["requests_last_minute"] > 50 for worker in workers)
    assert re.search(r"valkey 9\.\S+, .* MiB, \d{2,} sessions of \d{2,} users", table)
    assert re.search(
        r"^openssl   nginx \S+ \(until .+\), Python \S+ \(until .+\)$", table, re.MULTILINE
    )
    assert "upstream  round robin" in table
    assert table.splitlines()[-1] == "healthy"


def test_unhealthy(start_stack: StartStack) -> None:
    """A stopped worker makes the exit code 1 and is named, and so is Redis when it is away."""
    stack = start_stack()
    supervisord_of(stack).stop([f"worker-{stack.worker_ports[0]}", "redis"])
    code, said = operate(stack, "status")

    assert code == 1
    assert f"127.0.0.1:{stack.worker_ports[0]} is not ready" in said
    assert "Redis does not answer" in said


def test_edited_but_not_applied(stack: Scratch) -> None:
    """An edit that is not served yet is mentioned."""
    edit(stack, "keepalive 128;", "keepalive 64;")

    assert "`make reload` applies it" in done(stack, "status")
