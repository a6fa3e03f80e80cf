"""One upstream.conf for several hosts: what each of them takes for its own, and what it refuses to start without."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from deploy.native.options import Options, read_options
from deploy.native.render import upstream_line
from deploy.native.roles import check_role
from deploy.native.run import native_programs
from deploy.operations.judgement import problems
from deploy.operations.status import everybody, started
from deploy.refused import Refused
from deploy.upstream.difference import difference
from deploy.upstream.edit import add_workers, find_server
from deploy.upstream.lint import check_upstream
from deploy.upstream.read import Upstream, UpstreamError, parse_upstream
from tests.unit.test_judgement import WELL

SECRET = "x" * 32
SHARED = {
    "REDIS_URL": "redis://10.0.0.31:6379/0",
    "SESSION_SECRETS": SECRET,
    "NGINX_SECRET": SECRET,
}
LINES = ("10.0.0.11:8001", "10.0.0.11:8002", "10.0.0.12:8001", "[fd00::1]:8001")
ROLES = {
    "edge": {"ROLE": "edge", "BIND": "10.0.0.1"},
    "first": {"ROLE": "workers", "WORKERS_BIND": "10.0.0.11"},
    "third": {"ROLE": "workers", "WORKERS_BIND": "fd00:0::1"},
    "both": {"WORKERS_BIND": "10.0.0.12"},
}
OWN = {"edge": [], "first": [8001, 8002], "third": [8001], "both": [8001]}
PROGRAMS = {
    "edge": {"nginx"},
    "first": {"worker-8001", "worker-8002", "watchdog"},
    "third": {"worker-8001", "watchdog"},
    "both": {"worker-8001", "nginx", "watchdog"},
}


def text_with(*servers: str) -> str:
    lines = "".join(f"server {server};\n" for server in servers)
    return f"upstream app {{\nzone app 512k;\n{lines}}}\n"


def upstream_at(options: Options, *servers: str) -> Upstream:
    return parse_upstream(text_with(*servers), Path("upstream.conf"), options.own)


def options_of(host: str) -> Options:
    return read_options({**SHARED, **ROLES[host]})


@pytest.mark.parametrize("host", ROLES)
def test_own_lines(host: str) -> None:
    """Of the same file each host starts the workers with its own address, and no others; an edge starts none."""
    upstream = upstream_at(options_of(host), *LINES)
    check_upstream(upstream)
    check_role(options_of(host), {**SHARED, **ROLES[host]}, upstream)

    assert [server.port for server in upstream.workers] == OWN[host]


@pytest.mark.parametrize("host", ROLES)
def test_programs(host: str) -> None:
    """An edge runs nginx alone, a host of workers no nginx; workers listen on the address that others know."""
    options = options_of(host)
    programs = native_programs(options, upstream_at(options, *LINES))

    assert {program.name for program in programs} == PROGRAMS[host]
    for program in programs:
        if program.name.startswith("worker-"):
            assert f"--host {options.workers_bind}" in " ".join(program.command)


@pytest.mark.parametrize("name", ["REDIS_URL", "SESSION_SECRETS", "NGINX_SECRET", "WORKERS_BIND"])
def test_workers_need(name: str) -> None:
    """A host of workers does not start without what all hosts must share, and says what is missing."""
    given = {k: v for k, v in {**SHARED, **ROLES["first"]}.items() if k != name}
    options = read_options(given)

    with pytest.raises(Refused, match=f"needs {name}"):
        check_role(options, given, upstream_at(options, *LINES))


@pytest.mark.parametrize("host", ["edge", "both"])
def test_secret_between_hosts(host: str) -> None:
    """An edge, and workers that others reach, do not start without nginx's secret; a file of it will do."""
    given = {k: v for k, v in {**SHARED, **ROLES[host]}.items() if k != "NGINX_SECRET"}
    options = read_options(given)
    upstream = upstream_at(options, *LINES)

    with pytest.raises(Refused, match="needs NGINX_SECRET"):
        check_role(options, given, upstream)
    check_role(options, {**given, "NGINX_SECRET_FILE": "/run/secret"}, upstream)


def test_one_machine_needs_nothing() -> None:
    """Without any of these settings, everything runs here, and `app` lines alone are its workers."""
    options = read_options({})
    upstream = upstream_at(options, "app:8001", "127.0.0.1:8005")
    check_role(options, {}, upstream)

    assert [server.port for server in upstream.workers] == [8001]


def test_no_own_line() -> None:
    """A host of workers whose address no line has says which line to add."""
    options = options_of("first")

    with pytest.raises(Refused, match=r"add `server 10\.0\.0\.11:8001"):
        check_role(options, {**SHARED, **ROLES["first"]}, upstream_at(options, "10.0.0.12:8001"))


def test_app_on_an_edge() -> None:
    """`app` means a worker of this host, so an edge refuses it, with the line."""
    with pytest.raises(UpstreamError, match="line 3: `app` is a worker of this host"):
        check_upstream(upstream_at(options_of("edge"), "app:8001"))


def test_the_same_worker_twice() -> None:
    """`app` and the host's address with the same port are one worker."""
    with pytest.raises(UpstreamError, match="already on line 3"):
        check_upstream(upstream_at(options_of("first"), "app:8001", "10.0.0.11:8001"))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ROLE", "worker", "must be all, edge or workers"),
        ("WORKERS_BIND", "0.0.0.0", "not one address"),
        ("WORKERS_BIND", "::", "not one address"),
        ("WORKERS_BIND", "worker-1", "not one address"),
    ],
)
def test_wrong_values(name: str, value: str, said: str) -> None:
    """A role that is none, and an address that says nothing about lines, are refused with the setting's name."""
    with pytest.raises(Refused, match=said) as refused:
        read_options({name: value})
    assert f"{name}={value}" in str(refused.value)


@pytest.mark.parametrize(
    ("bind", "rendered"), [("10.0.0.12", "server 10.0.0.12:1;"), ("::1", "server [::1]:1;")]
)
def test_rendered(bind: str, rendered: str) -> None:
    """nginx reaches the workers of `app` where they listen; lines with addresses stay as they are."""
    assert upstream_line("server app:1 resolve;", bind) == rendered
    assert upstream_line("server 10.0.0.11:1;", bind) == "server 10.0.0.11:1;"


def test_names_of_own_workers() -> None:
    """A worker of this host is called by its port, and found by its address too; others by their address."""
    upstream = upstream_at(options_of("first"), *LINES)
    (said,) = difference(upstream_at(options_of("first"), *LINES[1:]), upstream)

    assert said == "+ 8001"
    assert find_server(upstream, "8002") == find_server(upstream, "10.0.0.11:8002")
    assert find_server(upstream, "10.0.0.12:8001").host == "10.0.0.12"


def test_added_worker_has_the_address() -> None:
    """A worker added on a host of workers stands in the file with the address of the others."""
    upstream = upstream_at(options_of("first"), *LINES)

    assert "\nserver 10.0.0.11:8003;\n" in add_workers(text_with(*LINES), upstream, [8003])


def elsewhere(**figures: object) -> dict[str, object]:
    counts = {"in_flight": 2, "requests_last_minute": 60, "errors_last_minute": 1}
    known = {"server": "10.0.0.12:8001", "in_rotation": True, "answers": True, "ready": True}
    return known | {"problem": None, "share": 0.5} | counts | figures


def test_row_elsewhere() -> None:
    """A worker of another host has a row with its figures; what only its own host knows is left open."""
    facts = {"workers": [], "servers": [elsewhere(), {"server": "b:1", "answers": False}]}
    (worker,) = everybody(facts)

    assert worker["worker"] == "10.0.0.12:8001"
    assert started(worker) == ("ready, elsewhere", "-", "-")


def test_not_ready_elsewhere() -> None:
    """A worker of another host that answers, but takes no traffic, is a problem that names it."""
    facts = copy.deepcopy(WELL)
    facts["servers"] = [elsewhere(ready=False, problem="waits for Redis: x")]

    assert problems(facts, None) == [
        "10.0.0.12:8001 is not ready: waits for Redis: x; its host knows more"
    ]


@pytest.mark.parametrize(
    ("role", "missing"),
    [("edge", {"workers": []}), ("workers", {"nginx": {"processes": 0}, "visitor": {}})],
)
def test_what_a_role_does_not_have(role: str, missing: dict[str, object]) -> None:
    """What another host runs is no problem of this one; on a host that should have it, it is."""
    facts = {**copy.deepcopy(WELL), **missing}

    assert problems({**facts, "role": role}, None) == []
    assert problems({**facts, "role": "all"}, None) != []
