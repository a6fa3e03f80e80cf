"""User-Agent headers in plain words."""

from __future__ import annotations

import pytest

from app.handlers.agents import in_plain_words

CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"

AGENTS = {
    f"Mozilla/5.0 (X11; Linux x86_64) {CHROME}": "Chrome 140 on Linux",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Edg/140.0.0.0": "Edge 140 on Windows",
    f"{MAC} {CHROME} OPR/120.0.0.0": "Opera 120 on macOS",
    f"Mozilla/5.0 (Linux; Android 10; K) {CHROME.replace('Safari', 'Mobile Safari')}": "Chrome 140 on Android",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0": "Firefox 143 on Windows",
    f"{MAC} AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15": "Safari 18 on macOS",
    f"{PHONE} Version/18.5 Mobile/15E148 Safari/604.1": "Safari 18 on iPhone",
    f"{PHONE} CriOS/140.0.0.0 Mobile/15E148 Safari/604.1": "Chrome 140 on iPhone",
    "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) " + CHROME: "Chrome 140 on ChromeOS",
    "curl/8.5.0": "curl 8.5.0",
    "python-httpx/0.28.1": "python-httpx 0.28.1",
    "": "unknown",
    "<script>alert(1)</script>": "unknown",
}


@pytest.mark.parametrize("agent", AGENTS, ids=AGENTS.values())
def test_in_plain_words(agent: str) -> None:
    """The browser with its version and the system, or the program's own name."""
    assert in_plain_words(agent) == AGENTS[agent]
