"""`make reload` and `make check`: from an edited upstream.conf to the traffic, or not at all."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from deploy.counted import counted
from deploy.operations.elsewhere import Answers, warnings
from deploy.operations.find import operation
from deploy.operations.generation import reload_nginx, wait_for_old_processes
from deploy.operations.stack import Place, Stack, applied_text
from deploy.operations.verify import answered_by, verify
from deploy.refused import Refused
from deploy.replace_file import replace_file
from deploy.upstream.difference import algorithm, difference
from deploy.upstream.lint import check_upstream
from deploy.upstream.read import (
    Server,
    Upstream,
    UpstreamError,
    parse_upstream,
    read_upstream,
    text_of,
)

UNCHANGED = "nothing was changed: what was applied before keeps serving"


def reload(environ: Mapping[str, str]) -> None:
    """Apply upstream.conf to the running stack; Refused says why not, and the old one keeps serving."""
    with operation(environ, "reload") as stack:
        apply(stack)


def apply(stack: Stack, editing: AbstractContextManager[None] | None = None) -> None:
    """The transaction; `editing` changes the file first, and takes that back when it fails.

    Interrupted at any point, the old or the new configuration serves; a reload ends what was begun.
    """
    old = {place.host: set(place.ports()) for place in stack.places()}
    with editing or nullcontext():
        upstream = _serve(stack, old)
    for place in stack.places():
        place.move_streams()
    _retire(stack, upstream, old)
    print(_done(stack, upstream))


def _done(stack: Stack, upstream: Upstream) -> str:
    if stack.role == "workers":
        running = counted(len(upstream.workers), "worker")
        return (
            f"running: {running}; each edge host needs this upstream.conf and a `make reload` too"
        )
    return f"serving: {counted(len(upstream.served), 'server')}, {algorithm(upstream)}"


def _serve(stack: Stack, old: Mapping[str, set[int]]) -> Upstream:
    """Everything up to the moment when the new file is the one that is served."""
    try:
        upstream, text = check_candidate(stack), text_of(stack.upstream_conf)
    except Refused as error:
        raise Refused(f"{error}\n{UNCHANGED}") from None
    say_difference(stack, upstream)
    say_warnings(upstream, stack.answers)
    wanted = {server.port for server in upstream.workers}
    with _started(stack, {host: sorted(wanted - ports) for host, ports in old.items()}):
        if stack.role != "workers":
            _switch(stack, upstream, old)
    for place in stack.places():
        place.keep(text)
    return upstream


def check_candidate(stack: Stack) -> Upstream:
    """The upstream file, if everything that can be known beforehand speaks for it; else Refused."""
    upstream = read_upstream(stack.upstream_conf, stack.own)
    check_upstream(upstream)
    for server in upstream.servers:
        if server.is_named and not server.is_worker and not stack.resolves(server.host):
            text = f"{server.host} cannot be resolved here: correct it, or write an address"
            raise UpstreamError(upstream.path, server.line, text)
    for place in stack.places():
        _check_ports(upstream, place)
    stack.test_nginx()
    return upstream


def say_difference(stack: Stack, upstream: Upstream) -> None:
    """Print what is about to change, or that nothing is."""
    if (applied := applied_text(stack.places())) is None:
        print("the current configuration is unknown; all of upstream.conf is applied")
        return
    changes = difference(parse_upstream(applied, upstream.path, stack.own), upstream)
    print("\n".join(f"  {change}" for change in changes or ["upstream.conf has not changed"]))


def say_warnings(upstream: Upstream, answers: Answers) -> None:
    """Print what is applied all the same and may not be what was meant."""
    for text in warnings(upstream, answers):
        print(f"warning: {text}", flush=True)


def _check_ports(upstream: Upstream, place: Place) -> None:
    known = set(place.ports())
    new = {server.port: server for server in upstream.workers if server.port not in known}
    for port in place.taken(sorted(new)):
        text = f"port {port} is in use by another program: choose another one"
        raise UpstreamError(upstream.path, new[port].line, text)


@contextmanager
def _started(stack: Stack, new: Mapping[str, list[int]]) -> Iterator[None]:
    """With the new workers running and ready; they go again when nginx refuses to use them."""
    done: list[Place] = []
    try:
        for place in stack.places():
            if new.get(place.host):
                began = time.monotonic()
                print(f"starting {_named(new[place.host])} on {place.host} …", flush=True)
                place.start(new[place.host])
                done.append(place)
                print(f"  ready after {time.monotonic() - began:.1f} s", flush=True)
        yield
    except Refused as error:
        for place in done:
            place.stop(new[place.host])
        raise Refused(f"{error}\n{UNCHANGED}") from None


def _switch(stack: Stack, upstream: Upstream, old: Mapping[str, set[int]]) -> None:
    """Have nginx serve the new file; on failure the old file is put back, and Refused says why."""
    print("reloading nginx …", flush=True)
    before = applied_text(stack.places())
    try:
        reload_nginx(stack)
        count = _verify(stack, upstream, old)
    except Refused as error:
        raise Refused(_restore(stack, before, str(error))) from None
    print(f"  new processes answer; {count} requests reached the expected workers", flush=True)


def _verify(stack: Stack, upstream: Upstream, old: Mapping[str, set[int]]) -> int:
    served = {server.port for server in upstream.served if server.is_worker}
    wanted = {server.port for server in upstream.workers}
    expected, removed = set(), set()
    for place in stack.places():
        ready = {found["port"] for found in place.figures() if found["ready"]}
        expected |= {f"{place.host}:{port}" for port in ready & served}
        removed |= {f"{place.host}:{port}" for port in old.get(place.host, set()) - wanted}
    expected |= {name for server in upstream.served if (name := _name_elsewhere(stack, server))}
    return verify(stack.url, expected, removed, upstream.policy)


def _name_elsewhere(stack: Stack, server: Server) -> str | None:
    """What a worker of another host calls itself, where it is ready and can be asked from here too."""
    if server.is_worker or not stack.answers(server.host, server.port):
        return None
    try:
        return answered_by(f"http://{server.host}:{server.port}") or None
    except Refused:
        return None


def _restore(stack: Stack, before: str | None, reason: str) -> str:
    """Put the last applied file back and reload; the text of the refusal."""
    if before is None:
        return f"{reason}\nno earlier file is known: correct it and run `make reload` again"
    refused = stack.state / "upstream.conf.refused"  # what the user wrote must not be lost
    refused.write_bytes(stack.upstream_conf.read_bytes())
    replace_file(stack.upstream_conf, before)
    reload_nginx(stack)
    wait_for_old_processes(stack)
    return f"{reason}\nupstream.conf was restored to the last working version; yours is kept as {refused}"


def _retire(stack: Stack, upstream: Upstream, old: Mapping[str, set[int]]) -> None:
    """Stop workers that are no longer listed, once no nginx process asks them any more."""
    wanted = {server.port for server in upstream.workers}
    removed = {host: sorted(ports - wanted) for host, ports in old.items()}
    if not any(removed.values()):
        return
    if stack.role != "workers":
        print("waiting for the old nginx processes …", flush=True)
        wait_for_old_processes(stack)
    for place in stack.places():
        if removed.get(place.host):
            print(f"draining {_named(removed[place.host])} on {place.host} …", flush=True)
            place.stop(removed[place.host])


def _named(ports: Sequence[int]) -> str:
    return ", ".join(map(str, ports))
