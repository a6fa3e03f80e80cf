"""A stack that is operated on under load, and how each operation is done to it."""

from __future__ import annotations

from typing import Protocol


class Target(Protocol):
    """Each method returns when the operation is over; Refused when it cannot be done."""

    url: str

    def workers(self) -> list[int]: ...
    def reload(self) -> None: ...
    def restart_all(self) -> None: ...
    def scale(self, number: int) -> None: ...
    def drain(self, port: int) -> None: ...
    def undrain(self, port: int) -> None: ...
    def send_signal(self, port: int, name: str) -> None: ...


class ContainerTarget(Target, Protocol):
    """In Docker the containers of the workers change, too."""

    def recreate(self) -> None:
        """The only one is replaced by another of the same image; returns when that is healthy."""

    def containers(self, number: int) -> None:
        """So many; returns when all are healthy, and those that left have ended."""

    def replace(self) -> None:
        """Others take the place of all, as for a new image."""
