"""A number among the settings, within its bounds."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.refused import Refused


def read_number(
    environ: Mapping[str, str], name: str, default: float, *, least: float = 1, most: float = 3600
) -> float:
    """The setting `name` in `environ`; Refused when it cannot be used."""
    value = environ.get(name) or str(default)
    try:
        number = float(value)
    except ValueError:
        raise Refused(f"{name}={value} is not a number") from None
    if not least <= number <= most:
        raise Refused(f"{name}={value} must be between {least:.15g} and {most:.15g}")
    return number
