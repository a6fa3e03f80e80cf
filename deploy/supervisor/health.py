"""Whether one worker is ready, as it says itself."""

from __future__ import annotations

import json

from deploy.ask import NoAnswer, ask
from deploy.networks import in_url


def readiness(port: int, *, host: str = "127.0.0.1", path: str = "/readyz") -> str | None:
    """None when GET `path` answers 200 within a second; otherwise what came instead.

    A worker that is not ready says itself what it waits for.
    """
    try:
        answer = ask(f"http://{in_url(host)}:{port}", path, seconds=1)
    except NoAnswer as error:
        return str(error)
    return not_ready(answer.status, answer.text)


def not_ready(status: int, text: str) -> str | None:
    """What an answer of /readyz says; None when the worker is ready."""
    return None if status == 200 else _waits_for(text) or f"{status} {text[:500]}"


def _waits_for(text: str) -> str | None:
    try:
        reason = json.loads(text)["waits_for"]
    except (ValueError, LookupError, TypeError):
        return None
    return f"waits for Redis: {reason}"
