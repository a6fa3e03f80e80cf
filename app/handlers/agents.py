"""A browser's User-Agent header in plain words, for the list of devices."""

from __future__ import annotations

import re

# In this order: most browsers also claim to be those further down.
BROWSERS = (
    ("Edge", r"Edg(?:e|A|iOS)?/(\d+)"),
    ("Opera", r"OPR/(\d+)"),
    ("Samsung Internet", r"SamsungBrowser/(\d+)"),
    ("Vivaldi", r"Vivaldi/(\d+)"),
    ("Firefox", r"(?:Firefox|FxiOS)/(\d+)"),
    ("Chrome", r"(?:HeadlessChrome|Chrome|CriOS)/(\d+)"),
    ("Safari", r"Version/(\d+)[\d.]* .*Safari/"),
)
SYSTEMS = (
    ("iPhone", r"iPhone"),
    ("iPad", r"iPad"),
    ("Android", r"Android"),
    ("Windows", r"Windows NT"),
    ("macOS", r"Mac OS X|Macintosh"),
    ("ChromeOS", r"CrOS"),
    ("Linux", r"Linux|X11"),
)


def in_plain_words(agent: str) -> str:
    """Like `Firefox 140 on Windows`; for what is no known browser, the program's own name.

    It is only what the browser said of itself when it logged in: good for recognising, not for trusting.
    """
    system = next((name for name, pattern in SYSTEMS if re.search(pattern, agent)), "")
    for name, pattern in BROWSERS:
        if match := re.search(pattern, agent):
            return f"{name} {match[1]}" + (f" on {system}" if system else "")
    program = re.match(r"[\w.-]+(?:/[\w.]+)?", agent)
    return program[0].replace("/", " ") if program else "unknown"
