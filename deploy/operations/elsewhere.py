"""Servers that upstream.conf lists and this stack does not start: whether anybody answers there."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from deploy.networks import is_loopback
from deploy.paths import shown
from deploy.supervisor.health import worker_figures
from deploy.upstream.read import OUR_HOST, Upstream

ANSWER_SECONDS = 1.0  # as proxy_connect_timeout: who accepts later is not there for nginx either
Answers = Callable[[str, int], bool]


def answers(host: str, port: int) -> bool:
    """Whether a connection is accepted from here; `host` may be unix:PATH."""
    try:
        if host.startswith("unix:"):
            with socket.socket(socket.AF_UNIX) as one:
                one.settimeout(ANSWER_SECONDS)
                one.connect(host.removeprefix("unix:"))
        else:
            socket.create_connection((host.strip("[]"), port), ANSWER_SECONDS).close()
    except OSError:
        return False
    return True


class FromHere:
    """What a stack asks of where nginx runs, asked of this machine."""

    def resolves(self, host: str) -> bool:
        try:
            socket.getaddrinfo(host, None)
        except OSError:
            return False
        return True

    def answers(self, host: str, port: int) -> bool:
        return answers(host, port)

    def figures(self, host: str, port: int) -> dict[str, Any]:
        return worker_figures(port, host.strip("[]"))


def warnings(upstream: Upstream, answers: Answers) -> list[str]:
    """What nginx accepts and may not be what was meant, with the line; nothing of it is refused."""
    said = []
    for server in upstream.servers:
        if server.is_worker or not server.is_served:
            continue
        where = f"{shown(upstream.path)}, line {server.line}: {server.host}:{server.port}"
        if is_loopback(server.host) and upstream.own == "":
            meant = f"write `{OUR_HOST}:{server.port}` if it should"
            said.append(f"{where}: this stack does not start it; {meant}")
        elif not answers(server.host, server.port):
            said.append(f"{where}: nobody answers there; this stack does not start it")
    return said
