"""A number among the settings, within its bounds and in the digits 0 to 9: Python takes those of every script."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.refused import Refused


def read_number(
    environ: Mapping[str, str], name: str, default: float, *, least: float = 1, most: float = 3600
) -> float:
    """The setting `name` in `environ`; Refused when it cannot be used."""
    value = environ.get(name) or str(default)
    try:
        if not value.isascii() or "_" in value:
            raise ValueError
        number = float(value)
    except ValueError:
        raise Refused(f"{name}={value} is not a number: write it in the digits 0 to 9") from None
    if not least <= number <= most:
        raise Refused(f"{name}={value} must be between {least:.15g} and {most:.15g}")
    return number


def read_whole(
    environ: Mapping[str, str], name: str, default: int, *, least: int, most: int
) -> int:
    """The same of a setting that counts something, or is a port."""
    number = read_number(environ, name, default, least=least, most=most)
    if environ.get(name) and not is_whole(environ[name]):
        raise Refused(
            f"{name}={environ[name]} is not a whole number: write the digits 0 to 9 alone"
        )
    return int(number)


def is_whole(text: str) -> bool:
    """Whether it is digits and nothing else."""
    return text.isascii() and text.isdecimal()
