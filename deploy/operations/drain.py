"""`make drain W=8002` and `make undrain W=8002`: out of rotation, still running; and back in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from deploy.operations.find import operation
from deploy.operations.generation import wait_for_old_processes
from deploy.operations.reload import apply
from deploy.operations.stack import Stack
from deploy.refused import Refused
from deploy.upstream.difference import label
from deploy.upstream.edit import edited, find_server, set_down
from deploy.upstream.read import Server, Upstream, read_upstream, text_of

IDLE_SECONDS = 30.0
ELSEWHERE = (
    "its host starts and stops it: before you stop it there, drain {} on each other edge host too, "
    "as others may still send to it"
)


def drain(environ: Mapping[str, str], word: str) -> None:
    """Mark the server `down`, reload, and return when it answers nothing any more."""
    with _chosen(environ, "drain", word) as (stack, upstream, server):
        if not _mark(stack, upstream, server, down=True):
            return
        if server.is_worker:
            _wait_until_idle(stack, label(server), lambda: _in_flight(stack, server.port))
        else:
            _wait_until_idle(stack, label(server), lambda: _in_flight_elsewhere(stack, server))
            print(ELSEWHERE.format(label(server)))


def undrain(environ: Mapping[str, str], word: str) -> None:
    """Take the mark away and reload."""
    with _chosen(environ, "undrain", word) as (stack, upstream, server):
        _mark(stack, upstream, server, down=False)


@contextmanager
def _chosen(
    environ: Mapping[str, str], command: str, word: str
) -> Iterator[tuple[Stack, Upstream, Server]]:
    """The server called `word`; Refused where no nginx of this host decides which server gets requests."""
    if not word.strip():
        raise Refused(f"write which server, by its port: make {command} W=8002")
    with operation(environ, command) as stack:
        upstream = read_upstream(stack.upstream_conf, stack.own)
        server = find_server(upstream, word)
        if stack.role == "workers":
            address = f"{stack.own if server.is_worker else server.host}:{server.port}"
            remedy = f"`make {command} W={address}` on each edge host"
            raise Refused(f"no nginx runs on this host: {remedy}")
        yield stack, upstream, server


def _mark(stack: Stack, upstream: Upstream, server: Server, *, down: bool) -> bool:
    """Whether it was not so already."""
    if server.is_served != down:
        print(f"{label(server)} is {'out of' if down else 'in'} rotation already")
        return False
    text = set_down(text_of(stack.upstream_conf), upstream, server, down)
    apply(stack, edited(stack.upstream_conf, text))
    return True


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
