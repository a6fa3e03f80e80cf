"""Which stack runs: an operation is the same command for both."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from deploy.lock import Held, held
from deploy.native.options import read_environ, read_options
from deploy.operations.docker import find_docker
from deploy.operations.docker_lacks import lacks
from deploy.operations.native import find_native
from deploy.operations.stack import Stack
from deploy.refused import Refused
from deploy.swarm.instead import in_swarm

KINDS = ("", "native", "docker")


def find_stack(environ: Mapping[str, str]) -> Stack | None:
    """The stack of STACK_DIR, else the Compose project of this folder; STACK=docker asks for that one."""
    environ = read_environ(environ)
    options = read_options(environ)
    kind = environ.get("STACK", "")
    if kind not in KINDS:
        raise Refused(f"STACK={kind} is neither native nor docker")
    stack: Stack | None = None if kind == "docker" else find_native(options)
    if stack is None and kind != "native":
        stack = find_docker(options.stack_dir, options.role, options.own)
    return stack


def running_stack(environ: Mapping[str, str], command: str = "") -> Stack:
    """As find_stack; Refused when neither runs, with what does the same as `command` in Swarm if one runs there."""
    stack = find_stack(environ)
    if stack is None:
        if instead := in_swarm(read_environ(environ), command):
            raise Refused(instead)
        raise Refused(
            f"no stack is running: start one with `make run` or `docker compose up`{_docker(environ)}"
        )
    return stack


def _docker(environ: Mapping[str, str]) -> str:
    """Why Docker has none, where that may be what was meant."""
    kind = environ.get("STACK", "")
    meant = kind == "docker" or (not kind and shutil.which("docker"))
    missing = lacks() if meant else None
    return f" ({missing})" if missing else ""


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
