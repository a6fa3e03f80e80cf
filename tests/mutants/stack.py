"""A broken stack beside a right one: other workers on its Redis, or another nginx before its workers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.native.nginx import nginx_in
from deploy.native.options import read_options
from deploy.native.programs import redis_url
from deploy.native.scratch import ISOLATED, UNSET, Scratch, free_ports
from deploy.paths import ROOT

PORT = re.compile(r":\d+\b")
LISTEN = re.compile(r"\blisten\s[^#;]*?(:\d+)\b")
READY_SECONDS = 20.0
STOP_SECONDS = 20.0
Change = Callable[[str], str]


@contextmanager
def workers(stack: Scratch, module: str, logs: Path) -> Iterator[list[int]]:
    """As many workers as `stack` has, of another module, on its Redis and with its secret; their ports."""
    ports = free_ports(len(stack.worker_ports))
    environ = _environ(stack)
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
            for port in ports
        ]
    try:
        for port, process in zip(ports, processes, strict=True):
            _wait_for(f"http://127.0.0.1:{port}/readyz", process, logs / "workers.log")
        yield ports
    finally:
        _end(processes)


@contextmanager
def nginx(stack: Scratch, folder: Path, change: Change) -> Iterator[str]:
    """Another nginx on a port of its own, with `stack`'s files but for the upstream; its address."""
    source = stack.folder / "state/nginx/conf"
    files = {path.relative_to(source): path.read_text() for path in source.rglob("*.conf")}
    moved = _new_ports(files.values())
    for name, text in files.items():
        copy = folder / "conf" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = PORT.sub(lambda match: moved.get(match[0], match[0]), text)
        copy.write_text(change(text) if name.name == "upstream.conf" else text)
    with open(folder / "access.log", "wb") as access, open(folder / "nginx.log", "wb") as log:
        process = subprocess.Popen(
            nginx_in(folder), stdin=subprocess.DEVNULL, stdout=access, stderr=log
        )
    url = f"http://127.0.0.1{moved[f':{stack.http_port}']}"
    try:
        _wait_for(f"{url}/healthz", process, folder / "nginx.log")
        yield url
    finally:
        process.terminate()  # a master that is killed leaves its workers behind
        process.wait(STOP_SECONDS)


def _new_ports(texts: Iterable[str]) -> dict[str, str]:
    """`:PORT` for each `:PORT` that nginx listens on."""
    old = sorted({match[1] for text in texts for match in LISTEN.finditer(text)})
    return {name: f":{port}" for name, port in zip(old, free_ports(len(old)), strict=True)}


def replaced(old: str, new: str) -> Change:
    """The upstream with the first `old` replaced by `new`; nothing may replace nothing."""

    def change(text: str) -> str:
        assert old in text, f"{old!r} is not in the upstream"
        return text.replace(old, new, 1)

    return change


def other_ports(stack: Scratch, ports: Sequence[int]) -> Change:
    """The upstream with other workers in the place of the stack's."""
    new = dict(zip(stack.worker_ports, ports, strict=True))
    pattern = re.compile(r"(?<=127\.0\.0\.1:)\d+")
    return lambda text: pattern.sub(lambda match: str(new[int(match[0])]), text)


def _environ(stack: Scratch) -> Mapping[str, str]:
    """What the stack's own workers see, and nothing of this machine's settings."""
    state = str(stack.folder / "state")
    isolated = {**os.environ, **ISOLATED, **dict.fromkeys(UNSET, ""), "STACK_DIR": state}
    return {**isolated, "REDIS_URL": redis_url(read_options(isolated))}


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except (OSError, urllib.error.URLError):
            time.sleep(0.02)
    raise RuntimeError(f"{url} did not come up\n{log.read_text()}")


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()
