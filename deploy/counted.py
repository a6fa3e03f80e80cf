"""Numbers with their nouns: 1 server, 2 servers."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`noun` is one whose plural has an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
