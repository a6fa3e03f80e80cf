"""The running stack, as operations see it: places with workers, an nginx, and one upstream file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from deploy.upstream.read import Upstream, parse_upstream, read_upstream


@dataclass(frozen=True)
class NginxProcess:
    """`shutting_down`: of an earlier generation, it only finishes what it has begun."""

    pid: int
    age_seconds: float
    shutting_down: bool


class Place(Protocol):
    """One supervisord and its workers: the native stack has one, Docker one a container."""

    @property
    def host(self) -> str: ...  # as X-Served-By has it
    def ports(self) -> list[int]: ...
    def taken(self, ports: Sequence[int]) -> list[int]: ...
    def start(self, ports: Sequence[int]) -> None: ...
    def stop(self, ports: Sequence[int]) -> None: ...
    def restart(self, port: int) -> None: ...
    def move_streams(self) -> None: ...
    def figures(self) -> list[dict[str, Any]]: ...
    def keep(self, text: str) -> None: ...
    def applied(self) -> str | None: ...


class Stack(Protocol):
    """A stack that runs now."""

    name: str  # for the user: which of the possible stacks this is
    url: str  # where nginx tells of its health, always over http
    role: str  # all, or what this host has: edge (nginx), workers
    upstream_conf: Path
    own: str | None  # the address of its workers, as deploy/upstream/read.py has it
    state: Path  # a folder of this machine, for the lock and for a refused file

    @property
    def site_url(self) -> str:
        """Where visitors are served: over https where http only leads there."""

    def places(self) -> Sequence[Place]:
        """Where workers run at this moment."""

    def settings(self) -> AbstractContextManager[list[str]]:
        """Workers that start in the block get the settings of now; sentences about what they get, and do not.

        When the block fails, later ones get the settings of before.
        """

    def reads_users(self, path: Path) -> bool:
        """Whether the workers look at this users file."""

    def resolves(self, host: str) -> bool:
        """Whether nginx could look `host` up."""

    def test_nginx(self) -> None:
        """Have nginx test the files as they are now; Refused repeats its complaint."""

    def reload_nginx(self) -> None:
        """Tell nginx to read its files again; returns at once, and says nothing of success."""

    def nginx_processes(self) -> list[NginxProcess]:
        """The processes that answer clients."""

    def nginx_log(self) -> str:
        """The end of nginx's error log."""

    def openssl(self) -> dict[str, str]:
        """What nginx and the workers' Python say of their OpenSSL, by name."""

    def answers(self, host: str, port: int) -> bool:
        """Whether a server that upstream.conf lists accepts connections from where nginx is."""

    def figures(self, host: str, port: int) -> dict[str, Any]:
        """What a worker that upstream.conf lists says of itself there, as worker_figures has it."""

    def store(self, *, count: bool = True) -> dict[str, Any]:
        """Figures of Redis, as store_figures has them."""

    def begin_session(self) -> dict[str, str]:
        """The cookies of a session begun with the workers' settings, as `python -m app.visitor` prints them."""


def applied_text(places: Sequence[Place]) -> str | None:
    """The upstream file that is being served, as the first place that knows has kept it."""
    return next((text for place in places if (text := place.applied()) is not None), None)


def served_upstream(stack: Stack, places: Sequence[Place]) -> Upstream | None:
    """What that file says; on an edge in Docker nobody keeps it, and it is the file as it is now."""
    if (text := applied_text(places)) is not None:
        return parse_upstream(text, stack.upstream_conf, stack.own)
    return read_upstream(stack.upstream_conf, None) if stack.role == "edge" else None
