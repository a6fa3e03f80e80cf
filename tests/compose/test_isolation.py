"""What a container may do, and who can reach it."""

from __future__ import annotations

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


def test_only_nginx_has_a_way_out(stack: Stack) -> None:
    """Redis and the workers have no default route, while nginx has one."""
    # Destination 00000000 in the second column is the default route.
    routes = "cut -f2 /proc/net/route"
    assert "00000000" in stack.shell("nginx", routes).split()
    assert "00000000" not in stack.shell("redis", routes).split()
    assert "00000000" not in stack.shell("app", routes).split()
    assert "from app" in stack.shell("app", "echo from app")  # the shell is there


def test_host_does_not_reach_a_worker(stack: Stack) -> None:
    """A worker's port answers nginx, and not the users of the host, who could say they are nginx."""
    edge = next(name for name in _networks(stack, "app") if name.endswith("_edge"))
    address = _networks(stack, "app")[edge]["IPAddress"]

    ask = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "2")
    ask += (f"http://{address}:8001/livez",)
    by_nginx = stack.attempt("exec", "-T", "nginx", *ask)
    by_the_host = stack.command(
        *ask
    )  # something else on the host's way may answer, but not with 200

    assert by_nginx.stdout == "200"
    assert by_the_host.stdout != "200"


def test_redis_has_no_port(stack: Stack) -> None:
    """Redis listens on no port, even for app; state 0A in the fourth column is listening."""
    states = "cat /proc/net/tcp /proc/net/tcp6 | awk '$2 !~ /^0B00007F/ {print $4}'"
    assert "0A" not in stack.shell("redis", states).split()


def test_socket_of_redis_is_for_app(stack: Stack) -> None:
    """The socket file is for the workers' group; nginx does not see it."""
    assert "srwxrwx---" in stack.shell("app", "ls -l /run/redis")
    assert "No such file" in stack.shell("nginx", "ls /run/redis")


def test_workers_may_only_what_they_need(stack: Stack) -> None:
    """Workers reach Redis as a user that cannot list or delete others' keys, or change settings; nobody can."""
    script = (
        'python -c \'import redis; print(redis.from_url("{}").execute_command(*"{}".split()))\''
    )
    url = "unix://{}@/run/redis/redis.sock"
    for user in ("sessions", "status"):
        for command in ("FLUSHALL", "CONFIG GET *", "SET x y", "ACL LIST"):
            asked = script.format(url.format(user), command)
            assert "no permissions" in stack.shell("app", asked)
    assert "NOAUTH" in stack.shell("redis", "redis-cli -s /run/redis/redis.sock ping")  # nobody


def test_redis_states_its_limits(stack: Stack) -> None:
    """The running Redis has the memory limit, the policy and the append-only file of redis.conf."""
    asked = "redis-cli -s /run/redis/redis.sock --user status --pass none --no-auth-warning info"
    lines = [line.strip().partition(":") for line in stack.shell("redis", asked).splitlines()]
    settings = {name: value for name, _, value in lines}
    assert settings["maxmemory_policy"] == "noeviction"
    assert settings["aof_enabled"] == "1"
    assert int(settings["maxmemory"]) == 256 * 1024**2


def _ports(stack: Stack, service: str) -> list[list[dict[str, str]]]:
    ports = stack.container(service)["NetworkSettings"]["Ports"]
    return [entries for entries in ports.values() if entries]


def _networks(stack: Stack, service: str) -> dict[str, dict[str, str]]:
    networks: dict[str, dict[str, str]] = stack.container(service)["NetworkSettings"]["Networks"]
    return networks
