"""Where REDIS_URL leads: one server, the master that Sentinels name, or the primaries of a cluster.

For whoever asks Redis how it is; workers have their own way there (app/sessions/wire/).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import redis
from redis.exceptions import RedisError

WAIT_SECONDS = 1.0
ACKNOWLEDGED_MILLISECONDS = 100
SLOTS = 16384


@dataclass(frozen=True)
class Found:
    """`servers` are connections by name.  `sentinels` are facts, none without any; so are uncovered slots."""

    servers: dict[str, Any]
    sentinels: Sequence[dict[str, Any]] = ()
    slots_uncovered: int | None = None


def find_servers(url: str) -> Found:
    """The servers that hold sessions.  Raises RedisError, OSError or ValueError."""
    scheme, _, rest = url.partition("://")
    kind = scheme.partition("+")[2]
    if kind == "sentinel":
        return _watched(scheme.partition("+")[0], rest)
    if kind == "cluster":
        return _cluster(scheme.partition("+")[0], rest)
    client = _connect(url)
    known = client.connection_pool.connection_kwargs
    return Found({known.get("path") or f"{known.get('host')}:{known.get('port')}": client})


def acknowledged_by(master: Any, wanted: int) -> int:
    """How many replicas acknowledge what is written now: it waits a moment for so many.  Raises as redis-py does."""
    with master.client() as connection:
        connection.publish("-", "")  # replicas are sent it, too
        return int(connection.wait(wanted, ACKNOWLEDGED_MILLISECONDS))


def _connect(url: str) -> Any:
    wait = {"socket_timeout": WAIT_SECONDS, "socket_connect_timeout": WAIT_SECONDS}
    return redis.Redis.from_url(url, **wait)


def _watched(plain: str, rest: str) -> Found:
    login, hosts, path, parameters = _parts(rest)
    name, _, database = path.partition("/")
    user, password = (parameters.pop(f"sentinel_{key}", "") for key in ("username", "password"))
    secret = f"{quote(user, safe='')}:{quote(password, safe='')}@" if password else ""
    shared = urlencode(parameters)
    facts = [
        _sentinel(f"{plain}://{secret}{host}?{_without_db(parameters)}", host, name)
        for host in (_with_port(host, 26379) for host in hosts)
    ]
    known = [fact for fact in facts if "error" not in fact]
    if not known:
        raise redis.ConnectionError(f"no Sentinel names the master: {facts[0]['error']}")
    master = max(known, key=lambda fact: int(fact["epoch"]))["master"]
    client = _connect(f"{plain}://{login}{master}/{database}?{shared}")
    return Found({master: client}, facts)


def _sentinel(url: str, host: str, name: str) -> dict[str, Any]:
    """What one Sentinel knows of the master and of the others."""
    try:
        with _connect(url) as client:
            said = client.sentinel_master(name)
            (ip, port), quorum = client.sentinel_get_master_addr_by_name(name), said["quorum"]
    except (OSError, RedisError, TypeError, KeyError) as error:
        return {"sentinel": host, "error": str(error) or type(error).__name__}
    return {
        "sentinel": host,
        "master": f"{ip.decode() if isinstance(ip, bytes) else ip}:{port}",
        "epoch": int(said["config-epoch"]),
        "quorum": int(quorum),
        "replicas": int(said["num-slaves"]),
        "other_sentinels": int(said["num-other-sentinels"]),
        "says_down": bool(said["is_sdown"] or said["is_odown"]),
    }


def _cluster(plain: str, rest: str) -> Found:
    login, hosts, _, parameters = _parts(rest)
    error: Exception = redis.ConnectionError("no node of the cluster answers")
    for host in hosts:
        url = f"{plain}://{login}{_with_port(host, 6379)}?{urlencode(parameters)}"
        try:
            with _connect(url) as client:
                ranges = client.execute_command("CLUSTER SLOTS")
                covered = int(client.execute_command("CLUSTER INFO")["cluster_slots_ok"])
        except (OSError, RedisError) as failed:
            error = failed
            continue
        asked = host.rpartition(":")[0] or host
        names = sorted({_name(primary, asked) for _, _, primary, *_ in ranges})
        servers = {
            name: _connect(f"{plain}://{login}{name}?{urlencode(parameters)}") for name in names
        }
        return Found(servers, slots_uncovered=SLOTS - covered)
    raise error


def _name(node: Sequence[Any], asked: str) -> str:
    host = (node[0] or b"").decode()
    return f"{asked if host in ('', '?') else host}:{node[1]}"


def _parts(rest: str) -> tuple[str, list[str], str, dict[str, str]]:
    """Of what comes after `://`: the login with its @, the hosts, the path, and the parameters."""
    place, _, query = rest.partition("?")
    netloc, _, path = place.partition("/")
    login, at, hosts = netloc.rpartition("@")
    return login + at, hosts.split(","), path, dict(parse_qsl(query))


def _without_db(parameters: dict[str, str]) -> str:
    return urlencode({name: value for name, value in parameters.items() if name != "db"})


def _with_port(host: str, port: int) -> str:
    return host if ":" in host.rpartition("]")[2] else f"{host}:{port}"
