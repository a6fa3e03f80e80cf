"""What the generator processes know and the history does not, put together and stored beside it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from loadtest.verdict.verdict import Code

ADDED = ("requests", "sessions", "arrivals", "dropped", "cookies_withheld")
# One process at its limit spoils the run, however idle others are.
HIGHEST = ("cpu_share", "seconds")


def combine(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """One summary of a run from those of its processes."""
    online: dict[str, Counter[int]] = {}
    for summary in summaries:
        for name, (checked, violations) in summary["online"].items():
            online.setdefault(name, Counter()).update({0: checked, 1: violations})
    return {
        **{name: sum(summary[name] for summary in summaries) for name in ADDED},
        **{name: max((summary[name] for summary in summaries), default=0.0) for name in HIGHEST},
        "errors": [error for summary in summaries for error in summary["errors"]],
        "online": {name: (counts[0], counts[1]) for name, counts in online.items()},
        "processes": len(summaries),
    }


def store(summary: dict[str, Any], path: Path) -> None:
    """Write it for `analysis.py`."""
    path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


def found(summary: dict[str, Any]) -> Code:
    """The code for Locust itself to end with; the verdict is made from the history, by another."""
    if any(violations for _, violations in summary["online"].values()):
        return Code.CONSISTENCY
    if summary["errors"]:
        return Code.HARNESS
    return Code.HOLDS if summary["requests"] else Code.PROVES_NOTHING
