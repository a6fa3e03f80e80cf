"""Changing server lines of the upstream file, and nothing else of it: comments and line ends stay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.refused import Refused
from deploy.replace_file import replace_file
from deploy.upstream.difference import label
from deploy.upstream.read import THIS_MACHINE, Server, Upstream, UpstreamError, text_of

PORT = re.compile(r"(\bserver\s+\S+:)\d+")
ASIDE = re.compile(r"\s+(?:down|drain|backup)(?=\s|$)")


@contextmanager
def edited(path: Path, text: str) -> Iterator[None]:
    """Write `text`, and write the old text back when the block fails."""
    before = text_of(path)
    replace_file(path, text)
    try:
        yield
    except BaseException:
        # Else somebody has changed it since, or the reload has restored it.
        if text_of(path) == text:
            replace_file(path, before)
        raise


def add_workers(text: str, upstream: Upstream, ports: list[int]) -> str:
    """`text` with a line a port, like the last worker's and below it, in rotation."""
    lines = _lines(text)
    last = upstream.workers[-1]
    line = _line(lines, upstream, last)
    end = line[len(line.rstrip("\r\n")) :] or "\n"
    pattern = ASIDE.sub("", _code(line))
    new = [PORT.sub(rf"\g<1>{port}", pattern) + ";" + end for port in ports]
    lines[last.line - 1] = line.rstrip("\r\n") + end
    lines[last.line : last.line] = new
    return "".join(lines)


def remove_servers(text: str, upstream: Upstream, servers: list[Server]) -> str:
    """`text` without these lines."""
    lines = _lines(text)
    for server in servers:
        _line(lines, upstream, server)
    gone = {server.line - 1 for server in servers}
    return "".join(line for number, line in enumerate(lines) if number not in gone)


def set_down(text: str, upstream: Upstream, server: Server, down: bool) -> str:
    """`text` with `down` added to that line or taken off it."""
    lines = _lines(text)
    line = _line(lines, upstream, server)
    code = _code(line)
    changed = code.rstrip() + " down" if down else ASIDE.sub("", code)
    lines[server.line - 1] = changed + line.removeprefix(code)
    return "".join(lines)


def _code(line: str) -> str:
    """What stands before its `;`."""
    return re.split("[;#]", line, maxsplit=1)[0]


def _lines(text: str) -> list[str]:
    """Lines as nginx counts them, each with its end."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _line(lines: list[str], upstream: Upstream, server: Server) -> str:
    """The text of a server's line; Refused unless it holds exactly one whole server."""
    line = lines[server.line - 1]
    code = line.partition("#")[0].strip()
    if not (code.startswith("server") and code.count(";") == 1 and code.endswith(";")):
        raise UpstreamError(
            upstream.path, server.line, "write one whole server on a line of its own"
        )
    return line


def find_server(upstream: Upstream, word: str) -> Server:
    """The server called `word`: a worker's port, or an address."""
    for server in upstream.servers:
        names = {f"{server.host}:{server.port}"}
        if server.is_worker:
            names |= {str(server.port), server.name}
            hosts = (upstream.own,) if upstream.own else THIS_MACHINE  # as `make status` has it
            names |= {f"{host}:{server.port}" for host in hosts}
        if word in names:
            return server
    kind = "workers" if upstream.workers else "servers"
    known = ", ".join(map(label, upstream.workers or upstream.servers))
    raise Refused(f"upstream.conf has no server {word}; its {kind} are {known}")
