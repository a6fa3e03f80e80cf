"""What a stack in Swarm gets as configs and secrets: files in STACK_DIR/swarm, each with the version for its name."""

from __future__ import annotations

import hmac
import io
import secrets
import tarfile
from collections.abc import Mapping
from pathlib import Path

from deploy.nginx_files import PATTERNS
from deploy.nginx_secret import kept_nginx_secret, read_nginx_secret
from deploy.paths import NGINX_SECRET, ROOT
from deploy.redis_users import password, write_users
from deploy.refused import Refused
from deploy.replace_file import replace_file
from deploy.upstream.read import OUR_HOST, Upstream

NOTHING = b"\n"  # a secret cannot be empty; what is read of this is
VERSION_DIGITS = 12
REDIS = ROOT / "deploy/redis"


def write_files(environ: Mapping[str, str], folder: Path, upstream: Upstream) -> dict[str, str]:
    """Write them all; the variables NAME_VERSION for the files of this folder.  Refused names a file that cannot be read."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    replicas = has_replicas(environ)
    nginx_secret = read_nginx_secret(environ) or kept_nginx_secret(folder / NGINX_SECRET)
    contents = {
        "nginx.tar": archive(ROOT / "nginx", upstream.path),
        "upstream.conf": workers_only(upstream),
        "redis.conf": (REDIS / "redis.conf").read_bytes(),
        "replica.conf": (REDIS / "replica.conf").read_bytes(),
        "session_secrets": _given(environ, "SESSION_SECRETS") or _kept(folder / "session-secret"),
        "nginx_secret": nginx_secret.encode(),
        "demo_password": _given(environ, "DEMO_PASSWORD") or NOTHING,
        "users": _file(environ, "USERS_FILE"),
        "tls_cert": _file(environ, "TLS_CERT"),
        "tls_key": _file(environ, "TLS_KEY"),
        "redis_url": _given(environ, "REDIS_URL") or _own_redis(folder, "sessions", replicas),
        "status_url": _given(environ, "REDIS_URL") or _own_redis(folder, "status", replicas),
        "redis_users": _redis_users(environ, folder),
        "redis_password": password(folder, "status").encode(),
        "redis_server": _server(folder),
        "redis_sentinel": _sentinel(folder),
    }
    for name, content in contents.items():
        replace_file(folder / name, content, mode=0o600)
    key = _kept(folder / "version-key")
    return {
        f"{name.partition('.')[0].upper()}_VERSION": version(content, key)
        for name, content in contents.items()
    }


def version(content: bytes, key: bytes) -> str:
    """The same for the same content; with the key of this folder, so that a name tells nothing of a short secret."""
    return hmac.new(key, content, "sha256").hexdigest()[:VERSION_DIGITS]


def workers_only(upstream: Upstream) -> bytes:
    """What the app containers have to know of the upstream, so that no other edit of it replaces them."""
    lines = (f"    server {OUR_HOST}:{server.port};\n" for server in upstream.workers)
    return f"upstream {OUR_HOST} {{\n    zone app 512k;\n{''.join(lines)}}}\n".encode()


def archive(folder: Path, upstream: Path) -> bytes:
    """nginx's files as one, with this upstream.conf; the same bytes for the same texts."""
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as tar:
        for path in sorted(path for pattern in PATTERNS for path in folder.glob(pattern)):
            name = str(path.relative_to(folder))
            content = (upstream if name == "upstream.conf" else path).read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return found.getvalue()


def has_own_redis(environ: Mapping[str, str]) -> bool:
    """Whether the stack runs a Redis, because no other is named."""
    return not _given(environ, "REDIS_URL")


def has_replicas(environ: Mapping[str, str]) -> bool:
    """Whether that Redis has replicas and Sentinels; Refused for any other number of them than ha.yml has."""
    value = environ.get("REPLICAS") or "0"
    if value not in ("0", "2"):
        raise Refused(f"REPLICAS={value} must be 0 or 2 in Swarm")
    return value == "2" and has_own_redis(environ)


def _given(environ: Mapping[str, str], name: str) -> bytes:
    """NAME, or what is in the file of NAME_FILE; empty without either."""
    value = environ.get(name, "").encode()
    if environ.get(f"{name}_FILE") and not value:
        return _file(environ, f"{name}_FILE")
    return value


def _file(environ: Mapping[str, str], name: str) -> bytes:
    path = environ.get(name)
    try:
        return (Path(path).read_bytes() or NOTHING) if path else NOTHING
    except OSError as error:
        raise Refused(f"{name}={path} cannot be read: {error.strerror}") from None


def _kept(path: Path) -> bytes:
    """A secret that is made at the first deployment and stays; without it everybody is logged out."""
    if not path.exists():
        replace_file(path, secrets.token_urlsafe(32), mode=0o600)
    return path.read_bytes()


def _own_redis(folder: Path, user: str, replicas: bool) -> bytes:
    login = f"{user}:{password(folder, user)}"
    if not replicas:
        return f"redis://{login}@redis:6379/0".encode()
    hosts, secret = "sentinel-1,sentinel-2,sentinel-3", password(folder, "sentinel")
    return f"redis+sentinel://{login}@{hosts}/mymaster/0?sentinel_password={secret}".encode()


def _server(folder: Path) -> bytes:
    """What a server begins with that may be the master or a replica; ha.yml adds its name."""
    lines = ["include /etc/redis/redis.conf", "include /etc/redis/replica.conf"]
    lines += ["aclfile /run/secrets/redis_users", f"masterauth {password(folder, 'failover')}"]
    return "\n".join([*lines, "bind *", "protected-mode no", "dir /data", ""]).encode()


def _sentinel(folder: Path) -> bytes:
    """What a Sentinel begins with; before it ha.yml says that hosts have names."""
    secret = password(folder, "sentinel")
    text = (REDIS / "sentinel.conf").read_text().replace(" HOST PORT ", " redis 6379 ")
    text = text.replace(" PASSWORD\n", f" {password(folder, 'failover')}\n")
    lines = ["protected-mode no", "dir /data", f"requirepass {secret}"]
    return "\n".join([*lines, f"sentinel sentinel-pass {secret}", text]).encode()


def _redis_users(environ: Mapping[str, str], folder: Path) -> bytes:
    draft = folder / "users.acl"
    write_users(draft, environ.get("SESSION_PREFIX") or "", folder)
    return draft.read_bytes()
