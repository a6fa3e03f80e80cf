"""Ports for stacks and servers beside each other."""

from __future__ import annotations

from deploy.free_port import free_ports


def test_none_is_given_twice() -> None:
    """Ports that are asked for one after the other differ, though nobody listens on them yet."""
    asked = [port for _ in range(200) for port in free_ports(1)]
    assert len(set(asked)) == 200
