"""The native stack's options, rendered files, programs, lock and accounts."""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from app.accounts import Accounts, read_users
from deploy.__main__ import main
from deploy.free_port import free_ports
from deploy.lock import Held, held, holder
from deploy.native import binaries
from deploy.native.leftovers import session_members
from deploy.native.nginx import nginx_command, prepare_nginx
from deploy.native.options import Options, read_environ, read_options
from deploy.native.ports import check_ports
from deploy.native.render import frame_line, render_nginx, site_line, upstream_line
from deploy.paths import ROOT
from deploy.refused import Refused
from deploy.supervisor.listener import is_given_up, next_event
from deploy.supervisor.programs import Program, worker_ports, worker_program, write_programs
from deploy.supervisor.start import has_ended
from deploy.upstream.read import Server, parse_upstream, read_upstream
from tests.conftest import UPSTREAM


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return read_options({"STACK_DIR": str(tmp_path), "HTTP_PORT": "9090"})


def test_rendering_keeps_line_numbers(options: Options, tmp_path: Path) -> None:
    """Each rendered file has the original's lines in the original's order, comments untouched."""
    render_nginx(options, tmp_path / "conf")
    originals = sorted((ROOT / "nginx").rglob("*.conf"))
    assert len(originals) > 5
    for original in originals:
        before = original.read_text().split("\n")
        after = (tmp_path / "conf" / original.relative_to(ROOT / "nginx")).read_text().split("\n")

        assert len(before) == len(after)
        assert [line.partition("#")[2] for line in before] == [
            line.partition("#")[2] for line in after
        ]


def test_rendered_upstream_has_the_same_servers(options: Options, tmp_path: Path) -> None:
    """The rendered upstream has every server on its line, at this machine, looked up once."""
    render_nginx(options, tmp_path / "conf")
    before = read_upstream(UPSTREAM).servers
    after = read_upstream(tmp_path / "conf/upstream.conf").servers

    assert [(s.port, s.line) for s in after] == [(s.port, s.line) for s in before]
    assert {s.host for s in after} == {"127.0.0.1"}
    assert not any("resolve" in s.parameters for s in after)


RENDERED = {
    "server app:8001 weight=2 resolve;": "server 127.0.0.1:8001 weight=2;",
    "server app:8001 resolve max_fails=1;": "server 127.0.0.1:8001 max_fails=1;",
    "server app2.example:80;": "server app2.example:80;",
    "server my-app:80;": "server my-app:80;",
    'server "app:8001";': 'server "127.0.0.1:8001";',
    "server\n  app:8001\nresolve\n;": "server\n  127.0.0.1:8001\n\n;",
    "zone app 512k;": "zone app 512k;",
    "upstream app {": "upstream app {",
    "hash $arg_app:x;": "hash $arg_app:x;",
}


@pytest.mark.parametrize("line", RENDERED)
def test_upstream_line(line: str) -> None:
    """Only the host name `app` of a server becomes this machine, and only `resolve` goes, on whatever lines they are."""
    assert "\n".join(map(upstream_line, line.split("\n"))) == RENDERED[line]


@pytest.mark.parametrize(
    ("bind", "address"),
    [("0.0.0.0", "0.0.0.0:9090"), ("::1", "[::1]:9090"), ("[::1]", "[::1]:9090")],
)
def test_site_line(options: Options, bind: str, address: str) -> None:
    """nginx listens where BIND and HTTP_PORT say."""
    chosen = read_options({"STACK_DIR": str(options.stack_dir), "HTTP_PORT": "9090", "BIND": bind})

    assert (
        site_line("    listen 8080 default_server;", chosen)
        == f"    listen {address} default_server;"
    )


def test_every_address_is_ipv4_too(options: Options) -> None:
    """With BIND=:: nginx has a socket for IPv6 and one for IPv4, as no setting of the kernel is to decide that."""
    chosen = read_options({"STACK_DIR": str(options.stack_dir), "HTTP_PORT": "9090", "BIND": "::"})

    assert site_line("    listen 8080 backlog=9;", chosen) == (
        "    listen [::]:9090 backlog=9; listen 0.0.0.0:9090 backlog=9;"
    )


def nginx_that_says(folder: Path, version: str) -> Path:
    """The packaged nginx under another version."""
    program = folder / "nginx-here"
    real = shlex.quote(str(binaries.nginx()))
    program.write_text(
        f'#!/bin/sh\n[ "$1" = -v ] || exec {real} "$@"\necho "nginx version: nginx/{version}" >&2\n'
    )
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(("version", "is_spoken"), [("1.31.3", False), ("1.31.9", True)])
def test_protocols_follow_the_nginx_that_runs(
    tmp_path: Path, version: str, is_spoken: bool
) -> None:
    """With NGINX the production stack runs that one, and its version decides which protocols are spoken."""
    given = {"STACK_DIR": str(tmp_path / "s"), "APP_ENV": "production"}
    given["NGINX"] = str(nginx_that_says(tmp_path, version))
    chosen = read_options(given)
    prepare_nginx(chosen)

    assert nginx_command(chosen)[3] == given["NGINX"]
    assert ("ssl_protocols TLSv1.3;" in (chosen.tls / "site.conf").read_text()) is is_spoken


def test_old_nginx_is_refused(tmp_path: Path) -> None:
    """An nginx that lacks what nginx/ is written for is refused with its version, and so is another program."""
    old = {"STACK_DIR": str(tmp_path / "s"), "NGINX": str(nginx_that_says(tmp_path, "1.26.3"))}
    with pytest.raises(Refused, match=r"is nginx 1\.26\.3, and 1\.29\.3 or later is needed"):
        prepare_nginx(read_options(old))
    with pytest.raises(Refused, match="is not nginx"):
        prepare_nginx(read_options(old | {"NGINX": "/bin/true"}))
    with pytest.raises(Refused, match="NGINX=nginx is not the full path"):
        read_options(old | {"NGINX": "nginx"})


def test_no_dev_in_production() -> None:
    """DEV=1 is refused in production, and taken in demo."""
    with pytest.raises(Refused, match="DEV=1 is for development"):
        read_options({"DEV": "1", "APP_ENV": "production"})

    assert read_options({"DEV": "1"}).dev


def test_frame_line(options: Options) -> None:
    """Files and connections are lowered to what the machine allows, and never raised."""
    line = "worker_connections 16384;"
    assert frame_line(line, 4096, options) == "worker_connections 4096;"
    assert frame_line(line, 99999, options) == line


def test_nginx_processes() -> None:
    """NGINX_PROCESSES takes the place of `auto`, and is refused when it is no number."""
    line = "worker_processes auto;"
    assert frame_line(line, 4096, read_options({})) == line
    chosen = read_options({"NGINX_PROCESSES": "8"})
    assert frame_line(line, 4096, chosen) == "worker_processes 8;"
    with pytest.raises(Refused, match="NGINX_PROCESSES=many must be auto"):
        read_options({"NGINX_PROCESSES": "many"})


WHOLE = ("HTTP_PORT", "HTTPS_PORT", "NGINX_PROCESSES", "NGINX_LEAVES_SECONDS")


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("value", ["1.5", "٣", "1_0", "+8", "1e1", "0x10"])
def test_whole_numbers(name: str, value: str) -> None:
    """What counts something or is a port takes the digits 0 to 9 alone; else it is refused, with name and value."""
    with pytest.raises(Refused, match=f"^{name}={re.escape(value)} .*digits 0 to 9"):
        read_options({name: value})


@pytest.mark.parametrize("value", ["٣", "1_0"])
def test_numbers(value: str) -> None:
    """A duration may have a fraction, and is written in the same digits."""
    assert read_options({"DRAIN_SECONDS": "1.5"}).drain_seconds == 1.5
    with pytest.raises(Refused, match=f"^DRAIN_SECONDS={value} is not a number: .*digits 0 to 9"):
        read_options({"DRAIN_SECONDS": value})


@pytest.mark.parametrize("taken", ["a worker's", "HTTP_PORT"])
def test_second_stack_has_a_cookie_of_its_own(tmp_path: Path, taken: str) -> None:
    """Where a port is taken, the command for a second stack names its cookie too: cookies know no ports."""
    http, https, worker = free_ports(3)
    text = f"upstream app {{\n    zone app 512k;\n    server app:{worker};\n}}\n"
    ports = {"HTTP_PORT": str(http), "HTTPS_PORT": str(https)}
    options = read_options({"STACK_DIR": str(tmp_path), **ports})
    port = http if taken == "HTTP_PORT" else worker
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(Refused, match=f"port {port} .*make run .*SESSION_COOKIE_NAME=second"),
    ):
        check_ports(options, parse_upstream(text, tmp_path / "upstream.conf"))


def test_nginx_leaves() -> None:
    """NGINX_LEAVES_SECONDS takes the place of a minute, which stays where nothing is said."""
    line = "worker_shutdown_timeout 60s;"
    assert frame_line(line, 4096, read_options({})) == line
    chosen = read_options({"NGINX_LEAVES_SECONDS": "5"})
    assert frame_line(line, 4096, chosen) == "worker_shutdown_timeout 5s;"
    assert line in (ROOT / "nginx/nginx.conf").read_text()


def test_environment_wins(tmp_path: Path) -> None:
    """A variable that is set wins over the file ENV_FILE names, even when it is set to nothing."""
    file = tmp_path / "env"
    file.write_text("HTTP_PORT=1111\nBIND=0.0.0.0\nREDIS_URL=redis://other\n")
    environ = read_environ({"ENV_FILE": str(file), "HTTP_PORT": "2222", "REDIS_URL": ""})

    assert (environ["HTTP_PORT"], environ["BIND"], environ["REDIS_URL"]) == ("2222", "0.0.0.0", "")


def test_long_folder_gets_a_private_socket(tmp_path: Path) -> None:
    """A socket whose path would be too long goes to a short folder that only its owner can open."""
    long = read_options({"STACK_DIR": str(tmp_path / ("x" * 120))})
    folder = long.socket("redis.sock").parent
    try:
        assert len(os.fsencode(long.socket("redis.sock"))) <= 100
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        folder.chmod(0o755)
        with pytest.raises(Refused, match="only you can open"):
            long.socket("redis.sock")
    finally:
        folder.rmdir()


def section(program: Program) -> RawConfigParser:
    parser = RawConfigParser()
    parser.read_string(program.section())
    return parser


def test_worker_program() -> None:
    """A worker's program has its port, and may take five seconds longer than the drain to end."""
    server = Server("app", 8001, (), 1)
    program = worker_program(server, host="0.0.0.0", drain_seconds=10, output=Path("/dev/stdout"))
    values = section(program)["program:worker-8001"]

    assert shlex.split(values["command"])[1:] == [
        "-m",
        "app",
        "--port",
        "8001",
        "--host",
        "0.0.0.0",
    ]
    assert values["stopwaitsecs"] == "15"
    assert values["stdout_logfile_maxbytes"] == "0"


def test_program_with_odd_paths() -> None:
    """Spaces and percent signs in paths reach the program as they are."""
    program = Program("redis", ["/a b/100%", "x"], 10, 5, Path("/logs/50%.log"))
    command = section(program)["program:redis"]["command"]

    assert shlex.split(command % {})[-3:] == ["/logs/50%.log", "/a b/100%", "x"]


def test_removed_worker_loses_its_program(tmp_path: Path) -> None:
    """Writing programs again leaves exactly the new ones."""
    programs = [
        worker_program(Server("app", port, (), 1), host="h", drain_seconds=1, output=Path("/x"))
        for port in (8001, 8002)
    ]
    write_programs(tmp_path, programs)
    assert worker_ports(tmp_path) == [8001, 8002]
    write_programs(tmp_path, programs[:1])

    assert worker_ports(tmp_path) == [8001]


def test_fatal_listener_speaks_the_protocol() -> None:
    """The listener is ready, takes one event, names its program, and answers OK."""
    payload = "processname:worker-8001 groupname:worker-8001 from_state:BACKOFF"
    events = io.StringIO(f"ver:3.0 eventname:PROCESS_STATE_FATAL len:{len(payload)}\n{payload}")
    answers = io.StringIO()

    event = next_event(events, answers)

    assert event["processname"] == "worker-8001"
    assert is_given_up(event)
    assert answers.getvalue() == "READY\nRESULT 2\nOK"
    assert next_event(events, answers) == {}


@pytest.mark.parametrize(("expected", "given_up"), [("0", False), ("1", True)])
def test_wrong_settings_are_not_tried_again(expected: str, given_up: bool) -> None:
    """A program that crashed is started again; one that ended with the code for wrong settings is not."""
    event = {"eventname": "PROCESS_STATE_EXITED", "processname": "x", "expected": expected}

    assert is_given_up(event) == given_up


def test_lock(tmp_path: Path) -> None:
    """A lock is held by one at a time, names its holder, and is free afterwards, whatever the file says."""
    path = tmp_path / "run.pid"
    assert holder(path) is None
    with held(path):
        assert holder(path) == os.getpid()
        with pytest.raises(Held), held(path):
            pass
    path.write_text(f"{os.getpid()}\n")

    assert holder(path) is None


def test_foreign_session_is_left_alone() -> None:
    """Processes of a session without the stack's mark are never taken for the stack's."""
    session = os.getsid(0)

    assert session_members(session, f"PATH={os.environ['PATH']}")
    assert session_members(session, "SUPERVISOR_DIR=/no/such/stack") == []


def add_user(monkeypatch: pytest.MonkeyPatch, path: Path, name: str, password: str) -> int:
    monkeypatch.setenv("USERS_FILE", str(path))
    monkeypatch.setenv("STACK_DIR", str(path.parents[1] / "state"))
    monkeypatch.setenv("ENV_FILE", "")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    return main(["user", name])


async def test_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`user` adds an account or changes its password, leaves the others, and keeps the file private."""
    path = tmp_path / "accounts" / "users"
    for name, password in (
        ("ann", "first password"),
        ("Bøb", "another one"),
        ("ann", "second password"),
    ):
        assert add_user(monkeypatch, path, name, password) == 0
    accounts = Accounts(read_users(path), None)
    assert await accounts.verify("ann", "second password")
    assert await accounts.verify("Bøb", "another one")
    assert not await accounts.verify("ann", "first password")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["users"]


@pytest.mark.parametrize(
    ("name", "password", "text"),
    [
        ("", "a good password", "cannot be a name"),
        ("a\nb", "a good password", "cannot be a name"),
        ("ann", "short", "8 to"),
    ],
)
def test_refused_user(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    password: str,
    text: str,
) -> None:
    """A name or password that cannot be used is refused with a sentence, and nothing is written."""
    assert add_user(monkeypatch, tmp_path / "users", name, password) == 1
    assert text in capsys.readouterr().err
    assert not (tmp_path / "users").exists()


class Stopped(Exception):
    """What `make run` raises when it is told to stop."""


class Interrupted(subprocess.Popen[bytes]):
    """SIGTERM arrives while somebody looks whether it has ended."""

    looked = False

    def poll(self) -> int | None:
        signal.raise_signal(signal.SIGTERM)
        self.looked = True
        return super().poll()


def test_stop_while_its_end_is_looked_for() -> None:
    """A stop that arrives while `make run` looks whether supervisord has ended is handled after that look."""

    def stop(*_: object) -> None:
        raise Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with Interrupted(["true"]) as process:
            with pytest.raises(Stopped):
                has_ended(process)
            assert process.looked
    finally:
        signal.signal(signal.SIGTERM, before)
