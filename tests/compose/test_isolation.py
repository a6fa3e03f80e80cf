"""What a container may do, and who can reach it."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path

import pytest

from tests.compose.stack import SERVICES, Stack


def test_only_nginx_publishes_a_port(stack: Stack) -> None:
    """The published ports of the stack are nginx's two, on 127.0.0.1."""
    published = {
        service: [entry["HostIp"] for entries in _ports(stack, service) for entry in entries]
        for service in SERVICES
    }
    assert published == {"nginx": ["127.0.0.1", "127.0.0.1"], "app": [], "redis": []}


@pytest.mark.parametrize("service", SERVICES)
def test_without_privileges(stack: Stack, service: str) -> None:
    """The first process of each container is not root, has no capability and cannot gain one."""
    lines = stack.shell(service, "cat /proc/1/status").splitlines()
    status = {key: value.split() for key, _, value in (line.partition(":") for line in lines)}
    assert "0" not in status["Uid"] + status["Gid"]
    assert {*status["CapPrm"], *status["CapEff"], *status["CapBnd"]} == {"0" * 16}
    assert status["NoNewPrivs"] == ["1"]


@pytest.mark.parametrize("service", SERVICES)
def test_read_only(stack: Stack, service: str) -> None:
    """Nothing outside tmpfs and volumes can be written; /tmp can."""
    assert "Read-only file system" in stack.shell(service, "touch /here")
    assert stack.shell(service, "touch /tmp/here && rm /tmp/here") == ""


@pytest.mark.parametrize(
    ("service", "path"), [("nginx", "/etc/nginx/stack"), ("app", "nginx"), ("redis", "/etc/redis")]
)
def test_configuration_is_read_only(stack: Stack, service: str, path: str) -> None:
    """A container cannot change the configuration folder that the host lends it."""
    assert "Read-only file system" in stack.shell(service, f"touch {path}/here")


@pytest.mark.parametrize("service", SERVICES)
def test_file_limit(stack: Stack, service: str) -> None:
    """Each service may open far more files than the engine's default of 1,024."""
    assert int(stack.shell(service, "ulimit -n")) >= 20000


def test_redis_is_on_a_network_of_its_own(stack: Stack) -> None:
    """Redis shares a network with app alone: nginx has no way to it."""
    networks = {service: set(_networks(stack, service)) for service in SERVICES}
    assert networks["redis"] < networks["app"]
    assert not networks["redis"] & networks["nginx"]


def test_redis_has_no_way_out(stack: Stack) -> None:
    """Redis has no default route, while nginx has one."""
    # Destination 00000000 in the second column is the default route.
    routes = "cut -f2 /proc/net/route"
    assert "00000000" in stack.shell("nginx", routes).split()
    assert "00000000" not in stack.shell("redis", routes).split()


def test_host_cannot_reach_redis(stack: Stack) -> None:
    """The host has no route to the network of Redis, while it has one to that of nginx."""
    assert _subnet(stack, "nginx").network_address in _host_routes()
    assert _subnet(stack, "redis").network_address not in _host_routes()


def test_app_reaches_redis(stack: Stack) -> None:
    """The isolation leaves the one open way: app to Redis."""
    script = 'python -c \'import redis; print(redis.Redis("redis").info("server")["tcp_port"])\''
    assert stack.shell("app", script) == "6379\n"


def test_redis_states_its_limits(stack: Stack) -> None:
    """The running Redis has the memory limit, the policy and the append-only file of redis.conf."""
    words = stack.shell(
        "redis", "redis-cli config get maxmemory maxmemory-policy appendonly"
    ).split()
    settings = dict(zip(words[::2], words[1::2], strict=True))
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["appendonly"] == "yes"
    assert int(settings["maxmemory"]) == 256 * 1024**2


def _ports(stack: Stack, service: str) -> list[list[dict[str, str]]]:
    ports = stack.container(service)["NetworkSettings"]["Ports"]
    return [entries for entries in ports.values() if entries]


def _networks(stack: Stack, service: str) -> dict[str, dict[str, str]]:
    networks: dict[str, dict[str, str]] = stack.container(service)["NetworkSettings"]["Networks"]
    return networks


def _subnet(stack: Stack, service: str) -> ipaddress.IPv4Network:
    (network,) = _networks(stack, service).values()
    return ipaddress.IPv4Network(f"{network['IPAddress']}/{network['IPPrefixLen']}", strict=False)


def _host_routes() -> set[ipaddress.IPv4Address]:
    # The second column is the destination, in hexadecimal and the byte order of the machine.
    lines = Path("/proc/net/route").read_text().splitlines()[1:]
    numbers = [int(line.split()[1], 16).to_bytes(4, sys.byteorder) for line in lines]
    return {ipaddress.IPv4Address(number) for number in numbers}
