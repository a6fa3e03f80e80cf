"""The stack's own Redis: one server behind a socket file, or with REPLICAS=2 a master, its replicas and Sentinels."""

from __future__ import annotations

import hashlib
import json
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path

from deploy.free_port import free_ports
from deploy.native import binaries
from deploy.native.options import Options
from deploy.paths import ROOT
from deploy.redis_users import password, write_users
from deploy.supervisor.programs import REDIS_PRIORITY, Program

FILES = ROOT / "deploy/redis"
SENTINELS = 3
MASTER = "mymaster"  # as Sentinels call it


def redis_url(options: Options, user: str = "sessions") -> str:
    """The address of the stack's own Redis for one of its users."""
    login = f"{user}:{password(options.stack_dir, user)}@"
    if not options.replicas:  # no port is taken, and no other user of this machine gets in
        return f"unix://{login}" + urllib.parse.quote(str(options.socket("redis.sock")))
    hosts = ",".join(f"127.0.0.1:{port}" for port in _ports(options)[-SENTINELS:])
    secret = password(options.stack_dir, "sentinel")
    return f"redis+sentinel://{login}{hosts}/{MASTER}/0?sentinel_password={secret}"


def has_own_redis(options: Options) -> bool:
    """Whether the stack, running or not, has one of its own; also on an edge host, where none is known."""
    return options.redis_url is None or options.redis_url == redis_url(options)


def store_programs(options: Options) -> Iterator[Program]:
    """What has to run.  Files of servers with replicas are kept: failovers are written down in them."""
    folder = _folder(options)
    folder.mkdir(parents=True, exist_ok=True)
    users = folder / "users.acl"
    write_users(users, options.session_prefix, options.stack_dir)
    if not options.replicas:
        command = [str(FILES / "redis.conf"), "--aclfile", str(users), "--port", "0"]
        command += ["--unixsocket", str(options.socket("redis.sock")), "--unixsocketperm", "700"]
        yield _program(options, "redis", [*command, "--dir", str(folder), "--daemonize", "no"])
        return
    ports = _ports(options)
    for number, port in enumerate(ports, 1):
        is_server = number <= 1 + options.replicas
        name = f"redis-{number}" if is_server else f"sentinel-{number - 1 - options.replicas}"
        file = folder / name / "redis.conf"
        if not file.exists():
            file.parent.mkdir(mode=0o700, exist_ok=True)
            lines = [f"port {port}", "bind 127.0.0.1", f'dir "{file.parent}"']
            lines += _server(options, users, number) if is_server else _sentinel(options, port)
            file.touch(mode=0o600)
            file.write_text("\n".join([*lines, ""]))
        yield _program(options, name, [str(file), *([] if is_server else ["--sentinel"])])


def _server(options: Options, users: Path, number: int) -> list[str]:
    lines = [f'include "{FILES / name}"' for name in ("redis.conf", "replica.conf")]
    lines += [f'aclfile "{users}"', f"masterauth {password(options.stack_dir, 'failover')}"]
    return lines + ([f"replicaof 127.0.0.1 {_ports(options)[0]}"] if number > 1 else [])


def _sentinel(options: Options, own_port: int) -> list[str]:
    """With all others named: finding them would take ten seconds, in which nothing could fail over."""
    ports, secret = _ports(options), password(options.stack_dir, "sentinel")
    text = (FILES / "sentinel.conf").read_text()
    text = text.replace(" HOST PORT ", f" 127.0.0.1 {ports[0]} ")
    text = text.replace(" PASSWORD\n", f" {password(options.stack_dir, 'failover')}\n")
    lines = [f"requirepass {secret}", f"sentinel sentinel-pass {secret}", text]
    replicas, sentinels = ports[1:-SENTINELS], ports[-SENTINELS:]
    lines += [f"sentinel known-replica {MASTER} 127.0.0.1 {port}" for port in replicas]
    for port in sentinels:
        name = hashlib.sha1(f"{port}".encode(), usedforsecurity=False).hexdigest()
        known = f"known-sentinel {MASTER} 127.0.0.1 {port}"
        lines.append(f"sentinel {'myid' if port == own_port else known} {name}")
    return lines


def _program(options: Options, name: str, arguments: Sequence[str]) -> Program:
    command = [str(binaries.redis()), *arguments]
    return Program(
        name, command, REDIS_PRIORITY, stop_seconds=10, output=options.logs / f"{name}.log"
    )


def _folder(options: Options) -> Path:
    name = f"redis-with-{options.replicas}-replicas" if options.replicas else "redis"
    return options.stack_dir / name


def _ports(options: Options) -> list[int]:
    """Of the servers, then of the Sentinels; chosen at the first start, and kept, as the files name them."""
    file = _folder(options) / "ports.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(free_ports(1 + options.replicas + SENTINELS)))
    return list(json.loads(file.read_text()))
