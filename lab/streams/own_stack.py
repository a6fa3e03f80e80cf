"""`with-own-stack -- COMMAND`: run COMMAND against a stack started for it, which it may disturb."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.native.child import run_child
from deploy.native.scratch import scratch_stack

FAULTS = [sys.executable, "-m", "lab.streams.disturb"]


def run_with_own_stack(
    command: Sequence[str], upstream_conf: Path, environ: Mapping[str, str]
) -> int:
    """COMMAND's exit code.  It finds HOST and STACK_COMMAND in its environment.

    With HOST given nothing is started, and there is no STACK_COMMAND but the caller's own.
    """
    if environ.get("HOST"):
        return run_child(command, environ)
    print("starting a stack for this", flush=True)
    with scratch_stack(upstream_conf, environ) as stack:
        facts = {"HOST": stack.url, "STACK_COMMAND": shlex.join(FAULTS), **stack.settings}
        return run_child(command, {**environ, **facts})
