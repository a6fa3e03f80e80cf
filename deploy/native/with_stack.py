"""`with-stack -- COMMAND`: run COMMAND against the stack that answers, or against one started for it."""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.native.options import Options
from deploy.native.scratch import scratch_stack
from deploy.refused import Refused
from deploy.upstream import read_upstream


def run_with_stack(command: Sequence[str], options: Options, environ: Mapping[str, str]) -> int:
    """COMMAND's exit code.  It finds HOST, WORKERS and POLICY in its environment.

    A HOST that was given must answer; without one, a stack is started when none runs.
    """
    host = environ.get("HOST") or options.url
    if is_our_stack(host):
        print(f"using the stack at {host}", flush=True)
        return _run(command, host, options.upstream_conf, environ)
    if environ.get("HOST"):
        raise Refused(f"no stack answers at HOST={host}; leave HOST away, and one is started")
    print("no stack is running: starting one for this", flush=True)
    with scratch_stack(options.upstream_conf, environ) as stack:
        return _run(command, stack.url, options.upstream_conf, environ)


def is_our_stack(url: str) -> bool:
    """Whether a worker of this project answers behind `url`."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/login", timeout=2) as answer:
            return "X-Served-By" in answer.headers
    except (OSError, ValueError, urllib.error.URLError):
        return False


def _run(command: Sequence[str], host: str, upstream_conf: Path, environ: Mapping[str, str]) -> int:
    upstream = read_upstream(upstream_conf)
    facts = {"HOST": host, "WORKERS": str(len(upstream.served)), "POLICY": upstream.policy}
    try:
        return subprocess.run(command, env={**environ, **facts}, check=False).returncode
    except FileNotFoundError:
        raise Refused(f"there is no command {command[0]}") from None
    except KeyboardInterrupt:
        return 130  # what a shell reports for a command that Ctrl-C ended
