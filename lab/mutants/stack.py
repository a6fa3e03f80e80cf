"""Broken workers beside those of a right stack, on its Redis, and the upstream that names them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.free_port import free_ports
from deploy.native.options import read_options
from deploy.native.scratch import Scratch
from deploy.native.store import redis_url
from deploy.paths import ROOT
from lab.mutants.catalogue import VARIABLE, Mutant
from lab.testbed.second_nginx import Change, wait_for


@contextmanager
def workers(stack: Scratch, mutant: Mutant, logs: Path) -> Iterator[list[int]]:
    """As many workers as `stack` has, broken ones, on its Redis and with its secret; their ports."""
    ports = free_ports(len(stack.worker_ports))
    right = {**_environ(stack), **mutant.settings}
    broken = {**right, **mutant.own, VARIABLE: json.dumps(mutant.faults)}
    if database := mutant.own.get("REDIS_DB"):
        broken["REDIS_URL"] = with_database(right["REDIS_URL"], database)
    kinds = [
        ("app", right) if mutant.only_one and number else (mutant.workers, broken)
        for number in range(len(ports))
    ]
    with open(logs / "workers.log", "wb") as log:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", module, "--port", str(port)],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            for port, (module, environ) in zip(ports, kinds, strict=True)
        ]
    try:
        for port, process in zip(ports, processes, strict=True):
            wait_for(f"http://127.0.0.1:{port}/readyz", process, logs / "workers.log")
        yield ports
    finally:
        _end(processes)


def with_database(url: str, database: str) -> str:
    """The same server's other database; of a server that Sentinels know, it is the last part of the path."""
    if url.startswith("redis+sentinel:"):
        return re.sub(r"/\d+(?=\?|$)", f"/{database}", url)
    return f"{url}?db={database}"


def other_ports(stack: Scratch, ports: Sequence[int]) -> Change:
    """The upstream with other workers in the place of the stack's."""
    new = dict(zip(stack.worker_ports, ports, strict=True))
    pattern = re.compile(r"(?<=127\.0\.0\.1:)\d+")
    return lambda text: pattern.sub(lambda match: str(new[int(match[0])]), text)


def _environ(stack: Scratch) -> Mapping[str, str]:
    """What the stack's own workers see, and nothing of this machine's settings."""
    own = {**os.environ, **stack.settings}
    return {**own, "REDIS_URL": redis_url(read_options(own), "admin")}


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()
