"""`make drain W=8002` and `make undrain W=8002`: out of rotation, still running; and back in it."""

from __future__ import annotations

import time
from collections.abc import Mapping

from deploy.operations.find import operation
from deploy.operations.generation import wait_for_old_processes
from deploy.operations.reload import apply
from deploy.operations.stack import Stack
from deploy.upstream.edit import find_server, set_down
from deploy.upstream.read import Server, read_upstream, text_of

IDLE_SECONDS = 30.0


def drain(environ: Mapping[str, str], word: str) -> None:
    """Mark the server `down`, reload, and return when it answers nothing any more."""
    with operation(environ) as stack:
        server = _mark(stack, word, down=True)
        if server and server.is_worker:
            _wait_until_idle(stack, server)


def undrain(environ: Mapping[str, str], word: str) -> None:
    """Take the mark away and reload."""
    with operation(environ) as stack:
        _mark(stack, word, down=False)


def _mark(stack: Stack, word: str, *, down: bool) -> Server | None:
    """The server, now changed; None when it was so already."""
    upstream = read_upstream(stack.upstream_conf)
    server = find_server(upstream, word)
    if server.is_served != down:
        print(f"{word} is {'out of' if down else 'in'} rotation already")
        return None
    apply(stack, set_down(text_of(stack.upstream_conf), upstream, server, down))
    return server


def _wait_until_idle(stack: Stack, server: Server) -> None:
    print(f"waiting for {server.port} to finish what it answers …", flush=True)
    wait_for_old_processes(stack)
    deadline = time.monotonic() + IDLE_SECONDS
    while busy := _in_flight(stack, server.port):
        if time.monotonic() > deadline:
            print(f"{server.port} still answers {busy} requests; event streams may last for hours")
            return
        time.sleep(0.2)
    print(f"{server.port} is idle, and keeps running")


def _in_flight(stack: Stack, port: int) -> int:
    found = [figures for place in stack.places() for figures in place.figures()]
    # A worker that does not answer has no such figure, and nothing is waited for.
    return sum(figures.get("in_flight", 0) for figures in found if figures["port"] == port)
