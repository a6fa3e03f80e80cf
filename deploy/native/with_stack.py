"""`with-stack -- COMMAND`: run COMMAND against the stack that answers, or against one started for it."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from deploy.native.child import run_child
from deploy.native.options import Options
from deploy.native.programs import supervisord_of
from deploy.native.scratch import scratch_stack
from deploy.native.versions import versions
from deploy.refused import Refused
from deploy.upstream.expect import upstream_facts

# What the command logs in with; so a stack that is started for it must know it too.
LOGIN = ("DEMO_PASSWORD", "DEMO_PASSWORD_FILE")


def run_with_stack(command: Sequence[str], options: Options, environ: Mapping[str, str]) -> int:
    """COMMAND's exit code.  It finds HOST, WORKERS, WEIGHTS, POLICY, PARTS, STACK in its environment.

    A HOST that was given must answer; without one, a stack is started when none runs.
    """
    host = environ.get("HOST") or options.url
    if is_our_stack(host):
        print(f"using the stack at {host}", flush=True)
        ours = options if host == options.url else None  # else it runs in Docker, or elsewhere
        return run_child(command, {**environ} | facts(host, options.upstream_conf, ours))
    if environ.get("HOST"):
        raise Refused(f"no stack answers at HOST={host}; leave HOST away, and one is started")
    print("no stack is running: starting one for this", flush=True)
    login = {name: environ[name] for name in LOGIN if environ.get(name)}
    with scratch_stack(options.upstream_conf, environ, **login) as stack:
        ours = replace(options, stack_dir=stack.folder / "state")
        return run_child(command, {**environ} | facts(stack.url, options.upstream_conf, ours))


def is_our_stack(url: str) -> bool:
    """Whether a worker of this project answers behind `url`."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/login", timeout=2) as answer:
            return "X-Served-By" in answer.headers
    except (OSError, ValueError, urllib.error.URLError):
        return False


def facts(host: str, upstream_conf: Path, native: Options | None = None) -> dict[str, str]:
    """What a load test must know of the stack at `host`, as environment variables.

    `native` are the stack's options where its processes can be watched from here.
    """
    parts = supervisord_of(native).pids() if native else {}
    return {
        "HOST": host,
        "PARTS": ",".join(f"{name}={pid}" for name, pid in parts.items()),
        "STACK": versions(native) if native and parts else "",
        **upstream_facts(upstream_conf),
    }
