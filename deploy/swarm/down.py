"""`make swarm-down`: remove the stack; its volumes stay."""

from __future__ import annotations

import time
from collections.abc import Mapping

from deploy.docker import docker
from deploy.native.options import read_environ
from deploy.refused import Refused
from deploy.swarm.docker import NAMESPACE, is_manager, services, stack_name

WAIT_SECONDS = 90.0


def swarm_down(environ: Mapping[str, str]) -> None:
    """Return when every task has drained and every network is gone."""
    name = stack_name(read_environ(environ))
    if not is_manager() or not services(name):
        raise Refused(f"no stack {name} runs in a swarm of this engine")
    docker("stack", "rm", name)
    deadline = time.monotonic() + WAIT_SECONDS
    while any(_left(kind, name) for kind in ("container", "network")):
        if time.monotonic() > deadline:
            raise Refused(f"still not gone after {WAIT_SECONDS:.0f} s: `docker stack ps {name}`")
        time.sleep(0.5)
    print(f"{name} is gone; its volumes ({name}_…) stay on their nodes")


def _left(kind: str, name: str) -> bool:
    every = ("--all",) if kind == "container" else ()
    return bool(
        docker(kind, "ls", *every, "--quiet", "--filter", f"label={NAMESPACE}={name}").strip()
    )
