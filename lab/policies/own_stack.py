"""`with-policies -- COMMAND`: run COMMAND where every balancing policy has an address of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.native.child import run_child
from deploy.native.scratch import scratch_stack
from lab.policies.fronts import running_fronts


def run_with_policies(
    command: Sequence[str], upstream_conf: Path, environ: Mapping[str, str]
) -> int:
    """COMMAND's exit code.  It finds FRONTS in its environment: policy=address, separated by spaces.

    The stack has the demo's own password.  With HOST or FRONTS given, nothing is started: COMMAND gets what was given.
    """
    if environ.get("HOST") or environ.get("FRONTS"):
        return run_child(command, environ)
    print("starting a stack, and an nginx for each policy", flush=True)
    with scratch_stack(upstream_conf, environ) as stack, running_fronts(stack) as fronts:
        given = " ".join(f"{name}={url}" for name, url in fronts.items())
        return run_child(command, {**environ, "FRONTS": given, "DEMO_PASSWORD": ""})
