"""Whether the ports the stack needs are free, and what to change when one is not."""

from __future__ import annotations

import errno

from deploy.free_port import listen
from deploy.native.options import Options
from deploy.paths import shown
from deploy.refused import Refused
from deploy.upstream.read import Upstream

# Browsers send a cookie to every port of a host: two stacks need two names.
COOKIE = "SESSION_COOKIE_NAME=second"
# Another checkout's workers are the usual reason.
SECOND = (
    ", or run a second stack beside the first: sed 's/app:80/app:81/' nginx/upstream.conf > second.conf "
    f"&& make run UPSTREAM_CONF=second.conf HTTP_PORT=8090 {COOKIE}"
)
BESIDE = f" (beside another stack of this project also {COOKIE})"


def check_ports(options: Options, upstream: Upstream) -> None:
    """Raise Refused for the first port that is taken, naming the setting or the line to change."""
    if options.has_nginx:
        _check_public(options, "HTTP_PORT", options.http_port, 8080)
        _check_public(options, "HTTPS_PORT", options.https.port, 8443)
    for server in upstream.workers:
        remedy = f"change {shown(upstream.path)}, line {server.line}{SECOND}"
        _check("WORKERS_BIND", options.workers_bind, server.port, remedy)


def _check_public(options: Options, name: str, port: int, default: int) -> None:
    another = port + 10 if 1024 <= port < 65000 else default
    _check("BIND", options.bind, port, f"choose another one: make run {name}={another}{BESIDE}")


def _check(setting: str, host: str, port: int, remedy: str) -> None:
    try:
        listen(host, port)
    except PermissionError:
        raise Refused(f"port {port} is for root only: {remedy}") from None
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise Refused(f"{setting}={host} is not an address of this machine") from None
        raise Refused(f"port {port} on {host} is in use by another program: {remedy}") from None
