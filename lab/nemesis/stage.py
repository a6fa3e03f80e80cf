"""What faults happen to: a stack with several edges, its workers and its store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from lab.nemesis.store import Store


class Stage(Protocol):
    """One machine, or several hosts."""

    edges: Sequence[str]  # the address of each
    store: Store

    def workers(self) -> Mapping[str, int]:
        """The process of each worker that runs, by its name."""

    def nginx(self, edge: int) -> Sequence[int]:
        """The processes of an edge's nginx, the master first."""

    def operate(self, *words: str) -> None:
        """`python -m deploy WORDS`; Refused when it fails."""

    def problems(self) -> list[str]:
        """What keeps it from being whole: empty when all that belongs to it runs and is ready."""

    def failed_votes(self) -> int:
        """How often so far a Sentinel has stood for election and was not elected."""
