"""What faults happen to: a stack with several edges, its workers and its store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from lab.hosts.topology import Hosts
from lab.nemesis.store import Store

Undo = Callable[[], None]


class Stage(Protocol):
    """One machine, or several hosts: then `hosts` are these."""

    @property
    def name(self) -> str:
        """For the report."""

    @property
    def edges(self) -> Sequence[str]:
        """The address of each."""

    @property
    def store(self) -> Store: ...

    @property
    def hosts(self) -> Hosts | None: ...

    def workers(self) -> Mapping[str, int]:
        """The process of each worker that runs, by its name."""

    def nginx(self, edge: int) -> Sequence[int]:
        """The processes of an edge's nginx, the master first."""

    def restart(self) -> None:
        """`make rolling-restart`, on each host with workers.  Refused when it fails, like all that follow."""

    def reload(self) -> None:
        """`make reload`, on each edge that has a supervisor."""

    def scale(self) -> Undo:
        """One worker more; how it goes again."""

    def problems(self) -> list[str]:
        """What keeps it from being whole: empty when all that belongs to it runs and is ready."""

    def failed_votes(self) -> int:
        """How often so far a Sentinel has stood for election and was not elected."""
