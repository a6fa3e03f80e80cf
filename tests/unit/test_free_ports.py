"""Ports for stacks and servers beside each other."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from deploy import free_port
from deploy.free_port import free_ports
from loadtest import __main__ as loadtest

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_none_is_given_twice() -> None:
    """Ports that are asked for one after the other differ, though nobody listens on them yet."""
    asked = [port for _ in range(200) for port in free_ports(1)]
    assert len(set(asked)) == 200


def test_none_is_for_outgoing_connections() -> None:
    """A connection that begins before the server does cannot take its port, for stacks and for the load test's master."""
    first = int(EPHEMERAL.read_text().split()[0]) if EPHEMERAL.exists() else 32_768
    assert max(free_port.PORTS.stop, loadtest.PORTS.stop) <= first


def test_port_for_locust_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that somebody listens on is not taken; where all are taken, that is an error."""
    assert loadtest.free_port() in loadtest.PORTS
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(loadtest, "PORTS", range(port, port + 1))
        with pytest.raises(OSError, match="is free"):
            loadtest.free_port()
