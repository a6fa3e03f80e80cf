"""How long sessions live and what they may hold."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Limits:
    """Lifetimes in seconds and caps.  .env.example gives the reasons for the defaults.

    Raises ValueError, with the name of the field, for what no session could keep.
    """

    idle_seconds: float = 1800
    absolute_seconds: float = 43200
    touch_seconds: float = 60
    renew_seconds: float = 0  # 0: ids are never renewed
    renew_grace_seconds: float = 10
    max_per_user: int = 5
    max_bytes: int = 16384
    max_fields: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            least = 1 if field.name.startswith("max_") else 0
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= least):
                raise ValueError(f"{field.name}={value} must be at least {least}")
        for name in ("idle_seconds", "absolute_seconds"):
            lifetime_ms(name, getattr(self, name))
        if self.renew_seconds and self.renew_grace_seconds >= self.renew_seconds:
            raise ValueError(
                f"renew_grace_seconds={self.renew_grace_seconds:g} must be shorter than "
                f"renew_seconds={self.renew_seconds:g}: a session has two good ids at most"
            )

    @property
    def touch_throttle_seconds(self) -> float:
        """A session is touched at most this often, so it may end this much before its idle limit."""
        return min(self.touch_seconds, self.idle_seconds / 10)


def lifetime_ms(name: str, seconds: float) -> int:
    """Milliseconds.  Raises ValueError, with `name`, where a session would end at once, or never."""
    if not (math.isfinite(seconds) and seconds >= 0.001):
        raise ValueError(f"{name}={seconds} must be above 0")
    return ms(seconds)


def ms(seconds: float) -> int:
    return round(seconds * 1000)
