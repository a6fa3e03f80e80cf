"""Asking through nginx who answers, until everybody who should has, and nobody who should not."""

from __future__ import annotations

import itertools
import time
from collections.abc import Set

from deploy.ask import NoAnswer, ask
from deploy.refused import Refused

VERIFY_SECONDS = 10.0
ROUNDS = 4  # a rotation that reaches everybody only sometimes would hardly do so four times
SPREADING = frozenset({"round_robin", "least_conn", "least_time", "random"})


def verify(url: str, expected: Set[str], removed: Set[str], policy: str) -> int:
    """How many requests it took; Refused when the answers do not come from whom they should.

    Under a policy that pins this client to one worker, any expected worker will do.
    """
    seen: set[str] = set()
    problem = ""
    deadline = time.monotonic() + VERIFY_SECONDS
    for count in itertools.count(1):
        try:
            name = answered_by(url)
        except Refused as error:  # a busy machine may answer late; it has until the deadline
            problem = f"; {error}"
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
            continue
        seen.add(name)
        if not name:  # SERVED_BY=0: workers do not say who they are
            return count
        if name in removed:
            raise Refused(f"{name} still answers although it was removed")
        reached = seen >= expected if policy in SPREADING else bool(seen & expected)
        if count >= ROUNDS * len(expected) and (reached or not expected):
            return count
        if time.monotonic() > deadline:
            break
    missing = ", ".join(sorted(expected - seen))
    raise Refused(f"no answer from {missing} in {count} requests{problem}")


def answered_by(url: str) -> str:
    """X-Served-By of one request on a connection of its own; Refused for anything but success."""
    try:
        answer = ask(url, "/healthz")  # reaches a worker, and is no part of the traffic
    except NoAnswer as error:
        raise Refused(f"{url} does not answer: {error}") from None
    if answer.status != 200:
        raise Refused(f"{url}/healthz answers {answer.status}")
    return answer.headers.get("X-Served-By", "")
