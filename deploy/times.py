"""How long a page may take, how long a worker may be silent, and what follows from both for nginx."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.refused import Refused

MOST_SECONDS = 3600.0
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


def read_times(environ: Mapping[str, str]) -> Times:
    """The times in `environ`; Refused names the one that cannot be used."""
    return Times(
        page_seconds=_number(environ, "PAGE_SECONDS", Times.page_seconds, least=1),
        watchdog_seconds=_number(environ, "WATCHDOG_SECONDS", Times.watchdog_seconds, least=0),
    )


def _number(environ: Mapping[str, str], name: str, default: float, *, least: float) -> float:
    value = environ.get(name) or str(default)
    try:
        number = float(value)
    except ValueError:
        raise Refused(f"{name}={value} is not a number") from None
    if not least <= number <= MOST_SECONDS:
        raise Refused(f"{name}={value} must be between {least:g} and {MOST_SECONDS:g}")
    return number
