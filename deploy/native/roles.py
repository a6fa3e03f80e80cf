"""Whether a host can be what ROLE says: several hosts must agree on what one host would make for itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deploy.native.options import Options
from deploy.networks import is_loopback
from deploy.paths import shown
from deploy.refused import Refused
from deploy.upstream.read import Upstream


def check_role(options: Options, environ: Mapping[str, str], upstream: Upstream) -> None:
    """Refused names everything that is missing, all at once."""
    missing = [*_missing(options, environ)]
    if options.role == "workers" and not upstream.workers:
        line = f"server {options.workers_bind}:8001 max_fails=1 fail_timeout=1s;"
        missing.append(f"{shown(upstream.path)} has no worker of this host: add `{line}`")
    if missing:
        raise Refused("\n  ".join(missing))


def _missing(options: Options, environ: Mapping[str, str]) -> Iterator[str]:
    role = f"ROLE={options.role}"
    alone = is_loopback(options.workers_bind)
    if options.role == "workers":
        if options.own == "":
            yield f"{role} needs WORKERS_BIND, the address that upstream.conf has for this host"
        if not options.redis_url:
            yield f"{role} needs REDIS_URL, the same on every host: the sessions are there"
        if not _given(environ, "SESSION_SECRETS"):
            yield f"{role} needs SESSION_SECRETS, the same on every host: all verify what one has signed"
    if not _given(environ, "NGINX_SECRET") and (options.role != "all" or not alone):
        why = role if options.role != "all" else f"WORKERS_BIND={options.workers_bind}"
        yield f"{why} needs NGINX_SECRET, the same on every host: by it workers know nginx"


def _given(environ: Mapping[str, str], name: str) -> bool:
    return bool(environ.get(name) or environ.get(f"{name}_FILE"))
