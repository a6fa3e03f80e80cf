"""nginx's generations: a reload starts new processes, and the old ones leave when they have finished."""

from __future__ import annotations

import re
import time
from collections.abc import Set

from deploy.operations.stack import Stack
from deploy.refused import Refused

RELOAD_SECONDS = 15.0
# After a reload an old process answers for keepalive_min_timeout (2 s) on connections that were open,
# and finishes what it has begun. What is still there later only holds event streams or slow answers.
LEAVE_SECONDS = 8.0
REASON = re.compile(r"\[(?:emerg|alert|crit)\] .*")


def current(stack: Stack) -> set[int]:
    """The processes that take new connections; Refused when there are none."""
    pids = {process.pid for process in stack.nginx_processes() if not process.shutting_down}
    if not pids:
        raise Refused("nginx is not running; `make status` and its log say more")
    return pids


def reload_nginx(stack: Stack) -> None:
    """Reload, and return when only new processes take connections.

    nginx itself reports nothing: on an error it goes on with its old configuration.  Refused says why.
    """
    before, log = current(stack), stack.nginx_log()
    stack.reload_nginx()
    if not _replaced(stack, before):
        new = stack.nginx_log().removeprefix(log)
        reasons = REASON.findall(new) or [f"no new process within {RELOAD_SECONDS:g} s"]
        raise Refused(f"nginx did not take the new configuration: {reasons[-1]}")


def wait_for_old_processes(stack: Stack) -> int:
    """Return when old processes send no new requests to workers; how many are still there."""
    deadline = time.monotonic() + LEAVE_SECONDS
    while (left := shutting_down(stack)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def shutting_down(stack: Stack) -> int:
    """How many processes of earlier generations are still there."""
    return sum(process.shutting_down for process in stack.nginx_processes())


def _replaced(stack: Stack, before: Set[int]) -> bool:
    deadline = time.monotonic() + RELOAD_SECONDS
    while time.monotonic() < deadline:
        now = {process.pid for process in stack.nginx_processes() if not process.shutting_down}
        if now and not now & before:
            return True
        time.sleep(0.05)
    return False
