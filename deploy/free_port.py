"""Whether a port is free, asked the only certain way: by listening on it."""

from __future__ import annotations

import socket


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
