"""Where `make longconn` runs: the running stack of this folder, or one started for it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence

from deploy.native.child import run_child
from deploy.operations.find import find_stack
from deploy.operations.native import NativeStack
from deploy.operations.with_stack import native_site

FAULTS = [sys.executable, "-m", "lab.streams.disturb"]


def run_with_own_stack(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """COMMAND's exit code.  It finds HOST and STACK_COMMAND in its environment.

    A stack in Docker, or at a HOST that was given, is not disturbed: there is no STACK_COMMAND then but
    the caller's own.
    """
    if environ.get("HOST"):
        return run_child(command, environ)
    stack = find_stack(environ)
    if stack is not None and not isinstance(stack, NativeStack):
        print(f"using {stack.name}", flush=True)
        return run_child(command, {**environ, "HOST": stack.url})
    with native_site(environ) as site:
        facts = {"HOST": site.url, "STACK_COMMAND": shlex.join(FAULTS), **site.settings}
        return run_child(command, {**environ, **facts})
