"""Which stack runs: an operation is the same command for both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from deploy.lock import Held, held
from deploy.native.options import read_environ, read_options
from deploy.operations.native import find_native
from deploy.operations.stack import Stack
from deploy.refused import Refused

KINDS = ("", "native", "docker")

# What speaks with Docker is imported where no native stack is found.


def find_stack(environ: Mapping[str, str]) -> Stack | None:
    """The stack of STACK_DIR, else the Compose project of this folder; STACK=docker asks for that one."""
    environ = read_environ(environ)
    options = read_options(environ)
    kind = environ.get("STACK", "")
    if kind not in KINDS:
        raise Refused(f"STACK={kind} is neither native nor docker")
    stack: Stack | None = None if kind == "docker" else find_native(options)
    if stack is None and kind != "native":
        from deploy.operations.docker import find_docker

        stack = find_docker(options.stack_dir, options.role, options.own)
    return stack


def running_stack(environ: Mapping[str, str], command: str = "") -> Stack:
    """As find_stack; Refused when neither runs, with what does the same as `command` in Swarm if one runs there."""
    stack = find_stack(environ)
    if stack is None:
        from deploy.operations.docker_lacks import why_none
        from deploy.swarm.instead import in_swarm

        if instead := in_swarm(read_environ(environ), command):
            raise Refused(instead)
        text = "no stack is running: start one with `make run` or `docker compose up`"
        raise Refused(text + why_none(environ.get("STACK", "")))
    return stack


@contextmanager
def operation(environ: Mapping[str, str], command: str = "") -> Iterator[Stack]:
    """The running stack, for one operation at a time: two at once would undo each other."""
    stack = running_stack(environ, command)
    stack.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with held(stack.state / "operation.pid"):
            print(stack.name, flush=True)
            yield stack
    except Held as error:
        text = f"another operation is under way (process {error.pid}); try again when it has ended"
        raise Refused(text) from None
