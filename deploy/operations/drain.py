"""`make drain W=8002` and `make undrain W=8002`: out of rotation, still running; and back in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from deploy.operations.find import operation
from deploy.operations.generation import wait_for_old_processes
from deploy.operations.reload import apply
from deploy.operations.stack import Stack
from deploy.refused import Refused
from deploy.upstream.difference import label
from deploy.upstream.edit import find_server, set_down
from deploy.upstream.read import Server, read_upstream, text_of

IDLE_SECONDS = 30.0
ELSEWHERE = (
    "its host starts and stops it: before you stop it there, drain {} on each other edge host too, "
    "as others may still send to it"
)


def drain(environ: Mapping[str, str], word: str) -> None:
    """Mark the server `down`, reload, and return when it answers nothing any more."""
    with operation(environ, "drain") as stack:
        _refuse_without_nginx(stack, "drain", word)
        server = _mark(stack, word, down=True)
        if server and server.is_worker:
            _wait_until_idle(stack, label(server), lambda: _in_flight(stack, server.port))
        elif server:
            _wait_until_idle(stack, label(server), lambda: _in_flight_elsewhere(stack, server))
            print(ELSEWHERE.format(label(server)))


def undrain(environ: Mapping[str, str], word: str) -> None:
    """Take the mark away and reload."""
    with operation(environ, "undrain") as stack:
        _refuse_without_nginx(stack, "undrain", word)
        _mark(stack, word, down=False)


def _mark(stack: Stack, word: str, *, down: bool) -> Server | None:
    """The server, now changed; None when it was so already."""
    upstream = read_upstream(stack.upstream_conf, stack.own)
    server = find_server(upstream, word)
    if server.is_served != down:
        print(f"{word} is {'out of' if down else 'in'} rotation already")
        return None
    apply(stack, set_down(text_of(stack.upstream_conf), upstream, server, down))
    return server


def _refuse_without_nginx(stack: Stack, command: str, word: str) -> None:
    """Which server gets requests is decided where nginx is."""
    if stack.role == "workers":
        upstream = read_upstream(stack.upstream_conf, stack.own)
        server = find_server(upstream, word)
        address = f"{stack.own if server.is_worker else server.host}:{server.port}"
        raise Refused(f"no nginx runs on this host: `make {command} W={address}` on each edge host")


def _wait_until_idle(stack: Stack, name: str, in_flight: Callable[[], int | None]) -> None:
    print(f"waiting for {name} to finish what it answers …", flush=True)
    wait_for_old_processes(stack)
    deadline = time.monotonic() + IDLE_SECONDS
    while busy := in_flight():
        if time.monotonic() > deadline:
            print(f"{name} still answers {busy} requests; event streams may last for hours")
            return
        time.sleep(0.2)
    if busy is None:
        print(f"this nginx sends {name} nothing more; what it still answers cannot be asked here")
    else:
        print(f"{name} is idle, and keeps running")


def _in_flight_elsewhere(stack: Stack, server: Server) -> int | None:
    """What it answers to every nginx; None where it does not say."""
    if not stack.answers(server.host, server.port):
        return None
    number: int | None = stack.figures(server.host, server.port).get("in_flight")
    return number


def _in_flight(stack: Stack, port: int) -> int:
    found = [figures for place in stack.places() for figures in place.figures()]
    # A worker that does not answer has no such figure, and nothing is waited for.
    return sum(figures.get("in_flight", 0) for figures in found if figures["port"] == port)
