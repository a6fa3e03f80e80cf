"""Reading nginx/upstream.conf, the single list of workers; everything else is derived from it.

nginx's own grammar is read by crossplane.  A worker of this host is a server line whose host is `app`, or the
address that its workers listen on, so that several hosts can have the same file.
"""

from __future__ import annotations

import codecs
import ipaddress
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import crossplane

from deploy.paths import shown
from deploy.read_number import is_whole
from deploy.refused import Refused

OUR_HOST = "app"
THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")
# `sticky` may stand beside one of the others, which then chooses for a first request.
POLICIES = ("least_conn", "least_time", "random", "ip_hash", "hash", "sticky")
NOT_SERVED = frozenset({"down", "drain", "backup"})  # a backup waits until all others are away
DIRECTIVE = re.compile(r"[a-z_]+(\s|;|$)|}")
PARAMETER = re.compile(r"(?:down|drain|backup|resolve)\b")  # words that begin no directive


class UpstreamError(Refused):
    """A line of the upstream file that cannot be used."""

    def __init__(self, path: Path, line: int | None, text: str) -> None:
        where = shown(path) if line is None else f"{shown(path)}, line {line}"
        super().__init__(f"{where}: {text}")


def worker_name(port: int) -> str:
    """The name of the worker on `port` in supervisor and in log files."""
    return f"worker-{port}"


def worker_port(name: str) -> int | None:
    """The port of the worker called `name`; None for any other program."""
    kind, _, port = name.partition("-")
    return int(port) if kind == "worker" and is_whole(port) else None


@dataclass(frozen=True)
class Server:
    """One server line: where it is, what its parameters say, and which line of the file it is."""

    host: str
    port: int
    parameters: tuple[str, ...]
    line: int
    has_own_address: bool = False  # that of WORKERS_BIND

    @property
    def is_worker(self) -> bool:
        """Whether this stack starts it."""
        return self.host == OUR_HOST or self.has_own_address

    @property
    def is_named(self) -> bool:
        """Whether the host is a name that has to be looked up, rather than an address."""
        return not self.host.startswith("unix:") and _address(self.host) is None

    @property
    def is_served(self) -> bool:
        """Whether ordinary requests reach it."""
        return not NOT_SERVED.intersection(self.parameters)

    @property
    def weight(self) -> int:
        """How many turns it gets in one rotation."""
        given = [value for value in self.parameters if value.startswith("weight=")]
        number = given[-1].removeprefix("weight=") if given else "1"
        return int(number) if is_whole(number) else 1  # nginx itself refuses what is no number

    @property
    def name(self) -> str:
        """The worker's name in supervisor and in log files."""
        return worker_name(self.port)


@dataclass(frozen=True)
class Upstream:
    """The `upstream app` block of one file."""

    path: Path
    servers: tuple[Server, ...]
    directives: Mapping[str, tuple[str, ...]]  # what else stands there: zone, keepalive, policy
    lines: Mapping[str, int]  # on which line each of those stands
    own: str | None = ""  # whose lines this stack starts, beside `app`; None: it starts no worker

    @property
    def workers(self) -> tuple[Server, ...]:
        """The servers this stack starts, those that are `down` too: they run without being asked."""
        return tuple(server for server in self.servers if server.is_worker)

    @property
    def served(self) -> tuple[Server, ...]:
        """The servers that ordinary requests are spread over."""
        return tuple(server for server in self.servers if server.is_served)

    @property
    def policy(self) -> str:
        """How a server is chosen: round_robin unless a line says otherwise."""
        return next((name for name in POLICIES if name in self.directives), "round_robin")


def read_upstream(path: Path, own: str | None = "") -> Upstream:
    """The upstream in `path`; UpstreamError names the line that nginx's grammar does not allow.

    `own` is the address that this host's workers listen on, where lines may name it; None where it has none.
    """
    block = _only_block(path)
    servers = [_server(path, item) for item in block if item["directive"] == "server"]
    address = _address(own or "")
    servers = [
        replace(one, has_own_address=bool(address) and _address(one.host) == address)
        for one in servers
    ]
    named = {item["directive"]: tuple(item["args"]) for item in block}
    lines = {item["directive"]: item["line"] for item in block}
    return Upstream(path, tuple(servers), named, lines, own)


def parse_upstream(text: str, path: Path, own: str | None = "") -> Upstream:
    """The upstream in a copy of `path` that was kept as text."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf", newline="", encoding="utf-8") as copy:
        copy.write(text)
        copy.flush()
        return replace(read_upstream(Path(copy.name), own), path=path)


def text_of(path: Path) -> str:
    """The text with its own line ends; UpstreamError where it is not the UTF-8 that is read everywhere."""
    content = path.read_bytes()
    if content.startswith(codecs.BOM_UTF8):
        text = "a byte-order mark, which nginx takes for a directive: save the file as UTF-8 without it"
        raise UpstreamError(path, 1, text)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UpstreamError(path, line, "not UTF-8: save the file as UTF-8") from None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that `host` is; None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _only_block(path: Path) -> list[dict[str, Any]]:
    """The directives inside `upstream app { ... }`, which must be all the file holds."""
    if not path.is_file():
        raise UpstreamError(path, None, "there is no such file")
    if line := line_without_semicolon(text_of(path)):
        raise UpstreamError(path, line, "a `;` is missing at the end of this line")
    # The file is a part of nginx.conf's http block, so directives cannot be checked for their place.
    parsed = crossplane.parse(str(path), single=True, check_ctx=False, check_args=False)
    for error in parsed["errors"]:
        raise UpstreamError(path, error["line"], error["error"].split(" in " + str(path))[0])
    top = parsed["config"][0]["parsed"]
    for item in top:
        if (item["directive"], item["args"]) != ("upstream", [OUR_HOST]):
            raise UpstreamError(path, item["line"], "only `upstream app { ... }` belongs here")
    if len(top) != 1:
        raise UpstreamError(path, None, "expected one `upstream app { ... }`")
    return list(top[0]["block"])


def line_without_semicolon(text: str) -> int | None:
    """The first line that ends without `;` and is followed by a new directive; None when there is none.

    nginx names a later one, since it reads on until it finds a `;`.
    """
    before = 0
    for number, line in enumerate(text.split("\n"), start=1):
        code = line.partition("#")[0].strip()
        if not code:
            continue
        if before and DIRECTIVE.match(code) and not PARAMETER.match(code):
            return before
        before = 0 if code[-1] in ";{}" else number
    return None


def _server(path: Path, item: dict[str, Any]) -> Server:
    address, *parameters = item["args"] or [""]
    host, colon, port = address.rpartition(":")
    if (host == OUR_HOST and not port) or address == OUR_HOST:
        text = f"a worker needs a port, from 1024 up: write `server {OUR_HOST}:8001;`"
        raise UpstreamError(path, item["line"], text)
    if address.startswith("unix:") or not colon or port.endswith("]"):
        host, port = address, "80"  # nginx's default; what is elsewhere need not name a port
    if not (is_whole(port) and 0 < int(port) < 65536):
        raise UpstreamError(path, item["line"], f"{address}: the port must be a number up to 65535")
    return Server(host, int(port), tuple(parameters), item["line"])
