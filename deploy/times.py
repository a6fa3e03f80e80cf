"""How long a page may take, how long a worker may be silent, and what follows from both for nginx."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.read_number import read_number

ROOM_SECONDS = 5  # to notice, and for a busy machine


@dataclass(frozen=True)
class Times:
    """PAGE_SECONDS and WATCHDOG_SECONDS; `watchdog_seconds` 0 means that nobody looks."""

    page_seconds: float = 60
    watchdog_seconds: float = 20

    @property
    def nginx_seconds(self) -> int:
        """proxy_read_timeout: a page may take its time after waiting behind one that blocked its worker."""
        return (
            round(self.page_seconds + (self.watchdog_seconds or self.page_seconds)) + ROOM_SECONDS
        )


DEFAULT_TIMES = Times()


def read_drain_seconds(environ: Mapping[str, str]) -> float:
    """How long a worker that drains may take."""
    return read_number(environ, "DRAIN_SECONDS", 10, most=300)


def read_times(environ: Mapping[str, str]) -> Times:
    """The times in `environ`; Refused names the one that cannot be used."""
    return Times(
        page_seconds=read_number(environ, "PAGE_SECONDS", Times.page_seconds),
        watchdog_seconds=read_number(environ, "WATCHDOG_SECONDS", Times.watchdog_seconds, least=0),
    )
