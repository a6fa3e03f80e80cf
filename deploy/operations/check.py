"""`make check`: everything `make reload` would find out before it changes something."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from deploy.counted import counted
from deploy.native.nginx import prepare_nginx
from deploy.native.options import Options, read_environ, read_options
from deploy.operations.elsewhere import answers
from deploy.operations.find import find_stack
from deploy.operations.reload import check_candidate, say_difference, say_warnings
from deploy.upstream.difference import algorithm
from deploy.upstream.lint import check_upstream
from deploy.upstream.read import Upstream, read_upstream


def check(environ: Mapping[str, str]) -> None:
    """Print what upstream.conf means, and what a reload would change; Refused names the line that is wrong."""
    stack = find_stack(environ)
    upstream = check_candidate(stack) if stack else check_without_stack(environ)
    is_workers_only = (stack.role if stack else _options(environ).role) == "workers"
    for server in upstream.servers:
        started = "a worker of this stack" if server.is_worker else "started elsewhere"
        state = "" if server.is_served else ", not in use"
        print(f"  {server.host}:{server.port}  {started}{state}")
    say_warnings(upstream, stack.answers if stack else answers)
    served = counted(len(upstream.served), "server")
    tested = "no nginx on this host tests it" if is_workers_only else "nginx accepts it"
    print(f"{served} in use, {algorithm(upstream)}: {tested}")
    if stack:
        print(f"`make reload` would change, in {stack.name}:")
        say_difference(stack, upstream)


def check_without_stack(environ: Mapping[str, str]) -> Upstream:
    """Of the files alone, as `make run` would start with them."""
    options = _options(environ)
    upstream = read_upstream(options.upstream_conf, options.own)
    check_upstream(upstream)
    if not options.has_nginx:
        return upstream
    with tempfile.TemporaryDirectory() as folder:
        prepare_nginx(replace(options, stack_dir=Path(folder)))
    return upstream


def _options(environ: Mapping[str, str]) -> Options:
    return read_options(read_environ(environ))
