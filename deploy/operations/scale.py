"""`make scale N=6`: so many workers, by editing server lines of upstream.conf and reloading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count, islice

from deploy.operations.find import operation
from deploy.operations.reload import apply
from deploy.operations.stack import Stack
from deploy.read_number import is_whole
from deploy.refused import Refused
from deploy.upstream.edit import add_workers, edited, remove_servers
from deploy.upstream.lint import check_upstream
from deploy.upstream.read import Upstream, read_upstream, text_of

MOST = 64  # beyond that a typing mistake is likelier than a machine with so many cores


def scale(environ: Mapping[str, str], wanted: str) -> None:
    """Add lines like the last worker's, or take the last ones away; on failure the file is as before."""
    if not is_whole(wanted) or not 1 <= (number := int(wanted)) <= MOST:
        raise Refused(
            f"N={wanted} must be a number from 1 to {MOST} in the digits 0 to 9: make scale N=6"
        )
    with operation(environ, "scale") as stack:
        upstream = read_upstream(stack.upstream_conf, stack.own)
        check_upstream(upstream)
        apply(stack, edited(stack.upstream_conf, _scaled(stack, upstream, number)))


def _scaled(stack: Stack, upstream: Upstream, number: int) -> str:
    text, workers = text_of(stack.upstream_conf), upstream.workers
    if stack.own is None:
        hosts = ", ".join(sorted({server.host for server in upstream.servers}))
        raise Refused(f"this host runs no worker: scale where they are: {hosts}")
    if not workers:
        raise Refused(
            "upstream.conf has no worker line to add others like: write `server app:8001;`"
        )
    if number <= len(workers):
        return remove_servers(text, upstream, list(workers[number:]))
    ports = list(islice(_free_ports(stack, upstream), number - len(workers)))
    return add_workers(text, upstream, ports)


def _free_ports(stack: Stack, upstream: Upstream) -> Iterator[int]:
    """Ports above the highest listed one that a worker can have in every place."""
    places = stack.places()
    for port in count(max(server.port for server in upstream.workers) + 1):
        if port > 65535:
            raise Refused("there is no free port above those of upstream.conf")
        if not any(place.taken([port]) for place in places):
            yield port
