"""Reading upstream.conf, and refusing what nginx would accept and nobody wants."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.upstream.lint import check_upstream
from deploy.upstream.read import (
    Server,
    Upstream,
    UpstreamError,
    line_without_semicolon,
    read_upstream,
)
from tests.conftest import UPSTREAM

GOOD = """upstream app {
    zone app 512k;
    # server app:8009;
    server app:8001 max_fails=1;
    server app:8002 down;
    server 192.0.2.7:9000;
    server app:8003 backup;
}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "upstream.conf"


def read(path: Path, text: str) -> Upstream:
    path.write_text(text, encoding="utf-8")
    upstream = read_upstream(path)
    check_upstream(upstream)
    return upstream


def test_shipped_file() -> None:
    """The shipped file has four workers, all in use, in plain round robin, and no complaint."""
    upstream = read_upstream(UPSTREAM)
    check_upstream(upstream)

    assert [server.port for server in upstream.workers] == [8001, 8002, 8003, 8004]
    assert upstream.served == upstream.workers
    assert upstream.policy == "round_robin"


def test_server_lines(path: Path) -> None:
    """Host, port, parameters and line of each server are read; comments are not."""
    servers = read(path, GOOD).servers

    assert servers[0] == Server("app", 8001, ("max_fails=1",), 4)
    assert [(server.host, server.port, server.line) for server in servers[1:]] == [
        ("app", 8002, 5),
        ("192.0.2.7", 9000, 6),
        ("app", 8003, 7),
    ]


def test_weight(path: Path) -> None:
    """A server has one turn in a rotation, or as many as its line says."""
    servers = read(path, GOOD.replace("max_fails=1;", "weight=3 max_fails=1;")).servers

    assert [server.weight for server in servers] == [3, 1, 1, 1]


def test_workers_and_served(path: Path) -> None:
    """`app` lines are workers of this stack; lines with `down` or `backup` get no ordinary request."""
    upstream = read(path, GOOD)

    assert [server.name for server in upstream.workers] == [
        "worker-8001",
        "worker-8002",
        "worker-8003",
    ]
    assert [(server.host, server.port) for server in upstream.served] == [
        ("app", 8001),
        ("192.0.2.7", 9000),
    ]


@pytest.mark.parametrize(
    "policy",
    ["least_conn", "ip_hash", "random two", "hash $cookie_sid consistent", "sticky cookie w"],
)
def test_policy(path: Path, policy: str) -> None:
    """A policy written into the block is named."""
    upstream = read(path, GOOD.replace("server app:8003 backup", policy, 1))

    assert upstream.policy == policy.split()[0]


@pytest.mark.parametrize("host", ["unix:/run/app.sock", "[::1]", "backend.example"])
def test_without_port(path: Path, host: str) -> None:
    """A server elsewhere needs no port: nginx takes 80."""
    server = read(path, GOOD.replace("192.0.2.7:9000", host)).servers[2]

    assert (server.host, server.port, server.is_worker) == (host, 80, False)


def test_line_endings(path: Path) -> None:
    """Windows line endings and a missing last newline change nothing."""
    unix = read(path, GOOD)
    path.write_bytes(GOOD.rstrip("\n").replace("\n", "\r\n").encode())

    assert read_upstream(path).servers == unix.servers


WRONG = {
    "missing brace": ("}\n", "", None, "unexpected end of file"),
    "missing semicolon": ("8001 max_fails=1;", "8001 max_fails=1", 4, "`;` is missing"),
    "missing semicolon of the zone": ("512k;", "512k", 2, "`;` is missing"),
    "missing semicolon before a comment": ("app:8002 down;", "app:8002 down", 5, "`;` is missing"),
    "missing semicolon of the last": ("8003 backup;", "8003 backup", 7, "`;` is missing"),
    "this machine's name for a worker": (
        "192.0.2.7:9000",
        "localhost:8001",
        6,
        "already on line 4",
    ),
    "byte-order mark": ("upstream app", "\ufeffupstream app", 1, "without it"),
    "unknown parameter": ("max_fails", "max_failures", 4, "no server parameter"),
    "commercial": ("max_fails=1", "slow_start=3s", 4, "commercial nginx only"),
    "weight of nothing": ("max_fails=1", "weight=0", 4, "`down` takes a server out"),
    "backup with random": (
        "zone app",
        "random two; zone app",
        7,
        "`backup` does not go with random",
    ),
    "backup with hash": ("zone app", "hash $uri; zone app", 7, "`backup` does not go with hash"),
    "two policies": ("app:8003 backup", "app:8003; ip_hash; least_conn", 7, "keep one"),
    "commercial directive": ("zone app", "queue 10; zone app", 2, "commercial nginx only"),
    "twice": ("app:8002", "app:8001", 5, "already on line 4"),
    "no number": ("app:8001", "app:http", 4, "port must be a number"),
    "digits that nginx does not know": ("app:8001", "app:800²", 4, "port must be a number"),
    "digits of another script": ("app:8001", "app:٨٠٠١", 4, "port must be a number"),
    "port too high": ("app:8001", "app:80010", 4, "port must be a number"),
    "port of root": ("app:8001", "app:80", 4, "from 1024 up"),
    "worker without port": ("app:8001", "app", 4, "from 1024 up"),
    "no zone": ("    zone app 512k;\n", "", None, "the zone is missing"),
    "what is not read": ("zone app", "include other.conf; zone app", 2, "write them here"),
    "another block": ("}\n", "}\nserver { }\n", 9, "only `upstream app"),
    "another name": ("upstream app", "upstream web", 1, "only `upstream app"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_line_is_named(path: Path, kind: str) -> None:
    """Each mistake is refused with the file, the line and what is wrong with it."""
    old, new, line, text = WRONG[kind]
    assert old in GOOD
    with pytest.raises(UpstreamError) as refused:
        read(path, GOOD.replace(old, new, 1))

    assert text in str(refused.value)
    assert str(refused.value).startswith(str(path))
    if line is not None:
        assert f"{path}, line {line}:" in str(refused.value)


def test_lines_without_semicolon() -> None:
    """The line that lacks its `;` is found, however the next one begins; lists over two lines are none."""
    text = (
        "upstream app {\n  zone app 512k%s\n  # a comment\n\n  server app:8001\n    resolve;\n}\n"
    )
    assert line_without_semicolon(text % ";") is None
    assert line_without_semicolon(text % "") == 2
    assert line_without_semicolon(text.replace("resolve;", "resolve") % ";") == 6


def test_another_encoding(path: Path) -> None:
    """A byte of another encoding is refused with its line, also in a comment."""
    path.write_bytes(GOOD.encode() + b"# caf\xe9\n")
    with pytest.raises(UpstreamError, match="line 9: not UTF-8: save the file as UTF-8"):
        read_upstream(path)


def test_nobody_in_use(path: Path) -> None:
    """A file in which every server is `down` or a `backup` is refused."""
    for word in ("down", "backup"):
        with pytest.raises(UpstreamError, match=f"no server is in use: remove .*`{word}`"):
            read(path, f"upstream app {{\n  zone app 512k;\n  server app:8001 {word};\n}}\n")


def test_sticky_beside_another_policy(path: Path) -> None:
    """`sticky` goes with a policy for first requests, which is then the one that is named."""
    assert (
        read(path, GOOD.replace("zone", "least_conn; sticky cookie w; zone")).policy == "least_conn"
    )


def test_no_server(path: Path) -> None:
    """A block without any server is refused."""
    with pytest.raises(UpstreamError, match="no server line"):
        read(path, "upstream app { zone app 512k; }\n")


def test_missing_file(path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(UpstreamError, match="there is no such file"):
        read_upstream(path)
