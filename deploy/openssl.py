"""The OpenSSL that nginx and Python run with, and until when its branch gets fixes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

# The last days of public support: https://openssl-library.org/policies/releasestrat/, read in August 2026.
ENDS = {
    "1.1": date(2023, 9, 11),
    "3.0": date(2026, 9, 7),
    "3.1": date(2025, 3, 14),
    "3.2": date(2025, 11, 23),
    "3.3": date(2026, 4, 9),
    "3.4": date(2026, 10, 22),
    "3.5": date(2030, 4, 8),
    "3.6": date(2026, 11, 1),
    "4.0": date(2027, 5, 14),
}


def openssl_facts(said: Mapping[str, str]) -> list[dict[str, Any]]:
    """Version and last day by program; `said` is what each says of itself, such as `nginx -V`."""
    versions = {program: _version(text) for program, text in said.items()}
    return [
        {"program": program, "version": version, "supported_until": _end(version)}
        for program, version in versions.items()
    ]


def openssl_line(facts: list[dict[str, Any]]) -> str:
    """`nginx 3.5.7 (until 2030-04-08), Python ...`."""
    shown = [f"{fact['program']} {fact['version'] or 'none'}" for fact in facts]
    ends = [f" (until {fact['supported_until'] or '?'})" * bool(fact["version"]) for fact in facts]
    return ", ".join(program + end for program, end in zip(shown, ends, strict=True))


def openssl_warnings(facts: list[dict[str, Any]], today: date) -> Iterator[str]:
    """A sentence for each program whose OpenSSL has no support any more."""
    for fact in facts:
        end = fact["supported_until"]
        if end and end < today.isoformat():
            yield (
                f"OpenSSL {fact['version']} in {fact['program']} has had no fixes since {end}, unless whoever "
                "built it carries them back: docs/security.md"
            )


def _version(said: str) -> str | None:
    """A program that was built with one OpenSSL may run with another; then it names that one last."""
    found = re.findall(r"\bOpenSSL (\d+\.\d+\.\w+)", said)
    return found[-1] if found else None


def _end(version: str | None) -> str | None:
    end = ENDS.get(".".join(version.split(".")[:2])) if version else None
    return end.isoformat() if end else None
