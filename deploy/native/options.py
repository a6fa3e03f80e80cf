"""What the native stack is told by the environment, and where its files lie."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.https import Https, name_for, read_https
from deploy.native.env_file import read_settings_file
from deploy.networks import in_url, reachable, read_bind, read_workers_bind
from deploy.paths import ROOT
from deploy.read_number import is_whole, read_whole
from deploy.refused import Refused
from deploy.times import read_drain_seconds

THIS_MACHINE = "127.0.0.1"
ROLES = ("all", "edge", "workers")
REPLICAS = ("0", "1", "2", "3", "4", "5")
LONGEST_SOCKET_PATH = 100  # the kernel's limit is 104 bytes on some systems, 108 on others


@dataclass(frozen=True)
class Options:
    """The native stack's settings; `redis_url` is None when the stack runs its own Redis."""

    bind: str
    http_port: int
    https: Https
    stack_dir: Path
    upstream_conf: Path
    redis_url: str | None
    drain_seconds: float
    nginx_processes: str = "auto"
    nginx_leaves_seconds: int = 60
    dev: bool = False
    session_prefix: str = ""
    replicas: int = 0  # of the stack's own Redis
    nginx_program: Path | None = None  # instead of the packaged one
    role: str = "all"
    workers_bind: str = THIS_MACHINE

    @property
    def has_nginx(self) -> bool:
        """Whether this host has one."""
        return self.role != "workers"

    @property
    def has_workers(self) -> bool:
        """Whether this host starts any."""
        return self.role != "edge"

    @property
    def starts_redis(self) -> bool:
        """Whether this host starts one for its workers, as no other was named."""
        return self.has_workers and not self.redis_url

    @property
    def own(self) -> str | None:
        """The address by which upstream.conf may name this host's workers, empty for none but `app`.

        None where this host starts no worker.
        """
        if not self.has_workers:
            return None
        return "" if self.workers_bind == THIS_MACHINE else self.workers_bind

    @property
    def logs(self) -> Path:
        return self.stack_dir / "logs"

    @property
    def nginx(self) -> Path:
        return self.stack_dir / "nginx"

    @property
    def tls(self) -> Path:
        """The certificate, its key, and what nginx is told of them."""
        return self.stack_dir / "https"

    @property
    def http_url(self) -> str:
        """Where nginx answers this machine."""
        return f"http://{in_url(reachable(self.bind))}:{self.http_port}"

    @property
    def https_url(self) -> str:
        """The same over https, under a name that its certificate is for: nginx answers to no other."""
        name = name_for(in_url(reachable(self.bind)), self.tls)
        return f"https://{name}:{self.https.port}"

    @property
    def site_url(self) -> str:
        """The site; over http unless HTTPS_ONLY sends visitors away from there."""
        return self.https_url if self.https.only else self.http_url

    @property
    def place(self) -> str:
        """Where the stack is: its site, or its workers where this host has no nginx."""
        return self.site_url if self.has_nginx else f"{self.workers_bind} (workers alone)"

    def socket(self, name: str) -> Path:
        """Where the socket file `name` belongs: STACK_DIR, or a private folder if that is too long."""
        path = self.stack_dir / name
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        folder = _private_folder(self.stack_dir)
        _make_private(folder)
        return folder / name

    def forget_sockets(self) -> None:
        """Remove the private folder again, if there is one; the servers removed their sockets."""
        folder = _private_folder(self.stack_dir)
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()


def read_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ`, completed from the file ENV_FILE names (`.env`); what is set already wins."""
    return read_settings_file(environ) | dict(environ)


def read_options(environ: Mapping[str, str]) -> Options:
    """The options in `environ`; Refused names the first variable that cannot be used."""
    redis_url = environ.get("REDIS_URL") or environ.get("REDIS_URL_FILE") or None
    http_port = read_whole(environ, "HTTP_PORT", 8080, least=1, most=65535)
    return Options(
        bind=read_bind(environ),
        http_port=http_port,
        https=read_https(environ, http_port),
        stack_dir=Path(environ.get("STACK_DIR") or ROOT / ".stack").resolve(),
        upstream_conf=Path(environ.get("UPSTREAM_CONF") or ROOT / "nginx/upstream.conf"),
        redis_url=redis_url,
        drain_seconds=read_drain_seconds(environ),
        nginx_processes=_processes(environ),
        nginx_leaves_seconds=read_whole(environ, "NGINX_LEAVES_SECONDS", 60, least=1, most=86400),
        dev=_dev(environ),
        session_prefix=environ.get("SESSION_PREFIX") or "",
        replicas=int(_one_of(environ, "REPLICAS", REPLICAS, "a number from 0 to 5")),
        nginx_program=_program(environ, "NGINX"),
        role=_one_of(environ, "ROLE", ROLES, "all, edge or workers"),
        workers_bind=read_workers_bind(environ),
    )


def _program(environ: Mapping[str, str], name: str) -> Path | None:
    value = environ.get(name)
    if value and not (os.path.isabs(value) and os.access(value, os.X_OK)):
        raise Refused(f"{name}={value} is not the full path of a program")
    return Path(value) if value else None


def _processes(environ: Mapping[str, str]) -> str:
    value = environ.get("NGINX_PROCESSES") or "auto"
    if value != "auto" and not (is_whole(value) and 1 <= int(value) <= 256):
        raise Refused(
            f"NGINX_PROCESSES={value} must be auto, or a number from 1 to 256 in the digits 0 to 9"
        )
    return value


def _one_of(environ: Mapping[str, str], name: str, values: Sequence[str], known: str) -> str:
    """The setting, the first of `values` when it is not given; `known` says which there are."""
    value = environ.get(name) or values[0]
    if value not in values:
        raise Refused(f"{name}={value} must be {known}")
    return value


def _dev(environ: Mapping[str, str]) -> bool:
    dev = _one_of(environ, "DEV", ("0", "1"), "1 or 0") == "1"
    if dev and environ.get("APP_ENV") == "production":
        raise Refused("DEV=1 is for development, and APP_ENV=production is not: unset one of them")
    return dev


def _private_folder(stack_dir: Path) -> Path:
    """A short path, always the same for `stack_dir`, whatever TMPDIR each command has."""
    digest = hashlib.sha256(os.fsencode(stack_dir)).hexdigest()[:12]
    return Path("/tmp") / f"stack-{os.getuid()}-{digest}"


def _make_private(folder: Path) -> None:
    """Make `folder` ours alone; whoever made one of that name before us must not get our sockets."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or folder.is_symlink():
        raise Refused(f"{folder} must be a folder that only you can open: remove it")
