"""A second stack beside the first: its own folder, free ports, own Redis; for tests and the load test."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.free_port import free_ports
from deploy.native.site import NativeSite
from deploy.paths import ROOT
from deploy.refused import Refused
from deploy.upstream.read import OUR_HOST, read_upstream, text_of

STOP_SECONDS = 40.0
ISOLATED = {"ENV_FILE": "", "APP_ENV": "demo", "BIND": "127.0.0.1"}
UNSET = (
    *("REPLICAS", "REDIS_URL", "REDIS_URL_FILE", "USERS_FILE"),
    *("DEMO_PASSWORD", "DEMO_PASSWORD_FILE"),
    *("TLS_CERT", "TLS_KEY", "HTTPS_NAMES", "ALLOWED_HOSTS", "HTTPS_ONLY", "HTTP2", "TLS13", "DEV"),
    *("HSTS_SUBDOMAINS", "EXEMPT_NETWORKS", "NGINX_SECRET", "NGINX_SECRET_FILE"),
    *("TRUSTED_PROXIES", "NGINX", "ROLE", "WORKERS_BIND"),
)


@dataclass(frozen=True)
class Scratch(NativeSite):
    """A scratch stack: its folder, and the `run` that keeps it running."""

    folder: Path
    process: subprocess.Popen[str]
    said: str  # by `run`, when it was ready


@contextmanager
def scratch_stack(
    upstream_conf: Path, environ: Mapping[str, str], **changes: str
) -> Iterator[Scratch]:
    """A stack like `upstream_conf` on free ports while the block runs; its folder is deleted afterwards.

    Settings of this machine's own stack (`.env`, its Redis, its users) do not reach it; `changes` do.
    """
    with tempfile.TemporaryDirectory(prefix="stack-") as name:
        settings = scratch_settings(Path(name), upstream_conf) | changes
        process = start_run({**environ, **settings})
        try:
            said = wait_for_start(process)
            yield _described(Path(name), settings, process, said)
        finally:
            end_run(process)


def scratch_settings(folder: Path, upstream_conf: Path) -> dict[str, str]:
    """The environment of a stack that lives in `folder`, with a copy of the upstream on free ports."""
    copy = folder / "upstream.conf"
    text = text_of(upstream_conf)
    workers = read_upstream(upstream_conf).workers
    http_port, https_port, *ports = free_ports(2 + len(workers))
    for server, port in zip(workers, ports, strict=True):
        text = re.sub(rf"\b{OUR_HOST}:{server.port}\b", f"{OUR_HOST}:{port}", text)
    copy.write_text(text, encoding="utf-8", newline="")
    return {
        **ISOLATED,
        **dict.fromkeys(UNSET, ""),
        "STACK_DIR": str(folder / "state"),
        "UPSTREAM_CONF": str(copy),
        "HTTP_PORT": str(http_port),
        "HTTPS_PORT": str(https_port),
    }


def start_run(
    environ: Mapping[str, str], root: Path = ROOT, *, before: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """`python -m deploy run` of the project in `root`, what it says readable from its stdout.

    `before` are words that stand before that command, as `ip netns exec NAME`.
    """
    return subprocess.Popen(
        [*before, sys.executable, "-m", "deploy", "run"],
        cwd=root,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a terminal's Ctrl-C is for the command that runs against the stack
    )


def end_run(process: subprocess.Popen[str]) -> int:
    """Stop a stack as `make stop` does, and return its exit code."""
    process.terminate()
    try:
        process.communicate(timeout=STOP_SECONDS)
    finally:
        process.kill()  # does nothing to one that has ended; of one that hangs the rest ends too
        process.communicate()
    return process.returncode


def wait_for_start(process: subprocess.Popen[str]) -> str:
    """Return what `run` says when the stack is ready; Refused repeats what it said instead."""
    said = ""
    for line in process.stdout or ():  # ends when the process does, which has a limit of its own
        said += line
        if "logs:" in line:
            return said
    raise Refused(f"the stack did not start\n{said}")


def _described(
    folder: Path, settings: Mapping[str, str], process: subprocess.Popen[str], said: str
) -> Scratch:
    upstream_conf = Path(settings["UPSTREAM_CONF"])
    port = int(settings["HTTP_PORT"])
    return Scratch(
        url=f"http://127.0.0.1:{port}",
        http_port=port,
        https_port=int(settings["HTTPS_PORT"]),
        worker_ports=tuple(server.port for server in read_upstream(upstream_conf).workers),
        state=Path(settings["STACK_DIR"]),
        upstream_conf=upstream_conf,
        settings=settings,
        folder=folder,
        process=process,
        said=said,
    )
