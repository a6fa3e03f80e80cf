"""How experiments read their settings: the environment that `make NAME=value` sets."""

from __future__ import annotations

from collections.abc import Mapping


class WrongSetting(ValueError):
    """A setting that cannot be used; the message names it."""


def switch(environ: Mapping[str, str], name: str) -> bool:
    """Whether NAME is on: QUICK=1 is, QUICK=0 and an empty or missing one are not."""
    return environ.get(name, "") not in ("", "0")


def number(
    environ: Mapping[str, str], name: str, default: float, least: float, most: float
) -> float:
    """NAME, or its default; WrongSetting when it is no number from `least` to `most`."""
    text = environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        raise WrongSetting(f"{name}={text} is not a number") from None
    if not least <= value <= most:
        raise WrongSetting(f"{name}={text} must be between {least:,g} and {most:,g}")
    return value
