"""Whether a port is free, asked the only certain way: by listening on it; and ports that are."""

from __future__ import annotations

import socket
from itertools import cycle, islice
from random import SystemRandom

from deploy.refused import Refused

# Below the range the kernel takes outgoing connections' ports from, or one of those could be in the way.
PORTS = range(12_000, 30_000)
# Where a process begins is chance that no seed repeats: tests seed theirs alike in each process.
_first = SystemRandom().choice(PORTS)
_in_turn = cycle([*range(_first, PORTS.stop), *range(PORTS.start, _first)])


def listen(host: str, port: int) -> None:
    """Listen there for a moment; OSError when that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the servers do: a connection that has just ended must not count as in use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        probe.listen(1)


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    try:
        listen(host, port)
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """That many different ports nobody listens on.

    One after the other from where this process began, so that none is given a second time before all
    others, and other processes that look for ports at the same moment look elsewhere.
    """
    found: list[int] = []
    for port in islice(_in_turn, len(PORTS)):
        if is_free("127.0.0.1", port):
            found.append(port)
        if len(found) == count:
            return found
    raise Refused(f"there are no {count} free ports between {PORTS.start} and {PORTS.stop}")
