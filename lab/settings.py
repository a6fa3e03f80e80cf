"""How experiments read their settings: the environment that `make NAME=value` sets."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.read_number import read_number, read_whole
from deploy.refused import Refused


class WrongSetting(ValueError):
    """A setting that cannot be used; the message names it."""


def switch(environ: Mapping[str, str], name: str) -> bool:
    """Whether NAME is on: QUICK=1 is, QUICK=0 and an empty or missing one are not."""
    return environ.get(name, "") not in ("", "0")


def number(
    environ: Mapping[str, str], name: str, default: float, least: float, most: float
) -> float:
    """NAME, or its default; WrongSetting when it is no number from `least` to `most`."""
    try:
        return read_number(environ, name, default, least=least, most=most)
    except Refused as error:
        raise WrongSetting(str(error)) from None


def whole(environ: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """The same for what counts something: digits alone."""
    try:
        return read_whole(environ, name, default, least=least, most=most)
    except Refused as error:
        raise WrongSetting(str(error)) from None
