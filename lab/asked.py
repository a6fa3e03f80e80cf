"""Switches of an experiment, such as QUICK=1."""

from __future__ import annotations

from collections.abc import Mapping


def asked(environ: Mapping[str, str], name: str) -> bool:
    """Whether NAME is set to something else than 0."""
    return environ.get(name, "") not in ("", "0")
