"""What nginx accepts in upstream.conf and nobody wants: found here, with the line and the remedy.

`nginx -t` passes a server listed twice, a group in which all are down, and a missing zone.
"""

from __future__ import annotations

import re

from deploy.upstream.read import OUR_HOST, POLICIES, THIS_MACHINE, Server, Upstream, UpstreamError

REMEDY = "its manual lists weight, max_conns, max_fails, fail_timeout, backup, down, resolve"
KNOWN = re.compile(
    r"(weight|max_conns|max_fails|fail_timeout|route|service)=\S+|backup|down|drain|resolve"
)
COMMERCIAL = {"queue", "state", "ntlm", "health_check"}  # directives of an upstream block
WITHOUT_BACKUP = {"random", "hash", "ip_hash"}
LOWEST_PORT = 1024  # below it, only root may listen


def check_upstream(upstream: Upstream) -> None:
    """Raise UpstreamError for the first line that would not do what it seems to say."""
    if not upstream.servers:
        raise UpstreamError(upstream.path, None, "no server line: add `server app:8001;`")
    for server in upstream.servers:
        _check_parameters(upstream, server)
        _check_worker(upstream, server)
    _check_directives(upstream)
    _check_duplicates(upstream)
    if not upstream.served:
        line = upstream.servers[0].line
        raise UpstreamError(
            upstream.path, line, "no server is in use: remove a `down` or a `backup`"
        )
    if "zone" not in upstream.directives:
        remedy = "add `zone app 512k;`, or each nginx process rotates by itself"
        raise UpstreamError(upstream.path, None, f"the zone is missing: {remedy}")


def _check_parameters(upstream: Upstream, server: Server) -> None:
    for parameter in server.parameters:
        if parameter.startswith("slow_start"):
            text = "slow_start is for the commercial nginx only: remove it"
        elif parameter == "backup" and upstream.policy in WITHOUT_BACKUP:
            text = f"`backup` does not go with {upstream.policy}: remove one of them"
        elif parameter in ("weight=0", "weight="):
            text = "a weight is 1 or more; `down` takes a server out"
        elif not KNOWN.fullmatch(parameter):
            text = f"nginx knows no server parameter {parameter!r}: {REMEDY}"
        else:
            continue
        raise UpstreamError(upstream.path, server.line, text)


def _check_directives(upstream: Upstream) -> None:
    for name in COMMERCIAL & upstream.directives.keys():
        text = f"{name} is for the commercial nginx only: remove it"
        raise UpstreamError(upstream.path, upstream.lines[name], text)
    if "include" in upstream.directives:
        text = "the servers of an included file would be known to nginx alone: write them here"
        raise UpstreamError(upstream.path, upstream.lines["include"], text)
    found = [name for name in POLICIES if name in upstream.directives and name != "sticky"]
    if len(found) > 1:
        text = f"{' and '.join(found)} are both policies: keep one"
        raise UpstreamError(upstream.path, upstream.lines[found[1]], text)


def _check_worker(upstream: Upstream, server: Server) -> None:
    if server.is_worker and upstream.own is None:
        text = f"`{OUR_HOST}` is a worker of this host, which runs none (ROLE=edge): write the address of its host"
        raise UpstreamError(upstream.path, server.line, text)
    if server.is_worker and server.port < LOWEST_PORT:
        text = f"a worker cannot listen on port {server.port}: write a port from {LOWEST_PORT} up"
        raise UpstreamError(upstream.path, server.line, text)


def _check_duplicates(upstream: Upstream) -> None:
    seen: dict[tuple[str, int], int] = {}
    here = () if upstream.own else THIS_MACHINE
    for server in upstream.servers:
        is_ours = server.is_worker or server.host in here
        address = (OUR_HOST if is_ours else server.host, server.port)
        if address in seen:
            text = f"{server.host}:{server.port} is already on line {seen[address]}: it would get twice its share"
            raise UpstreamError(upstream.path, server.line, text)
        seen[address] = server.line
