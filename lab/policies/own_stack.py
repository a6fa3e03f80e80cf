"""Where `make compare` runs: every balancing policy has an address of its own, before the same workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from deploy.native.child import run_child
from deploy.native.site import NativeSite
from deploy.operations.find import find_stack
from deploy.operations.native import NativeStack
from deploy.operations.with_stack import native_site, started_stack
from deploy.refused import Refused
from lab.policies.fronts import running_fronts

UNREACHABLE = "from here only nginx of a stack in Docker can be reached, not its workers"


def run_with_policies(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """COMMAND's exit code.  It finds FRONTS in its environment: policy=address, separated by spaces.

    The workers are those of the running stack, or of one started for this.  With HOST or FRONTS given,
    nothing is started: COMMAND gets what was given.
    """
    if environ.get("HOST") or environ.get("FRONTS"):
        return run_child(command, environ)
    with _site(environ) as site:
        print("starting an nginx for each policy", flush=True)
        with running_fronts(site) as fronts:
            given = " ".join(f"{name}={url}" for name, url in fronts.items())
            return run_child(command, {**environ, "FRONTS": given})


@contextmanager
def _site(environ: Mapping[str, str]) -> Iterator[NativeSite]:
    stack = find_stack(environ)
    if isinstance(stack, NativeStack) and stack.options.https.only:
        raise Refused("policies are compared over http, and this stack has HTTPS_ONLY=1")
    if stack is None or isinstance(stack, NativeStack):
        with native_site(environ) as site:
            yield site
        return
    print(f"{UNREACHABLE}: {stack.name} is not compared", flush=True)
    with started_stack(environ) as site:
        yield site
