"""docs/troubleshooting.md: each message it explains is still one that somebody can see."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploy.paths import ROOT

PAGE = (ROOT / "docs/troubleshooting.md").read_text()
SOURCES = (
    "app/**/*.py",
    "app/**/*.html",
    "deploy/**/*.py",
    "loadtest/**/*.py",
    "nginx/**/*.conf",
    "Makefile",
)
JOINED = re.compile(r'"\s*\n\s*[fr]*"')  # a text that goes on in the next line
LEAST = 15


def messages() -> list[str]:
    """The headings of the third level that are a message."""
    return re.findall(r"^### `([^`]+)`$", PAGE, re.MULTILINE)


def sources() -> Iterator[str]:
    for pattern in SOURCES:
        for path in ROOT.glob(pattern):
            yield JOINED.sub("", path.read_text())


def missing(message: str, texts: list[str]) -> bool:
    """Whether no source has all the parts of `message` between its gaps."""
    parts = [part.strip() for part in message.split("…") if part.strip()]
    return not any(all(part in text for part in parts) for text in texts)


def test_messages_exist() -> None:
    """Each message is written in the code, the pages or the nginx files; one that nobody writes is noticed."""
    texts = list(sources())

    assert len(messages()) >= LEAST
    assert [message for message in messages() if missing(message, texts)] == []
    assert missing("port … is haunted", texts)


def test_settings_exist() -> None:
    """Each setting that the page names is in .env.example, or chooses the stack or engine that a command means."""
    manual = (ROOT / ".env.example").read_text()
    named = set(re.findall(r"\b[A-Z]+_[A-Z_]+\b", PAGE))

    assert {name for name in named if f"#{name}=" not in manual} <= {
        "COMPOSE_PROJECT_NAME",
        "DOCKER_HOST",
        "REQUEST_ID",
    }
