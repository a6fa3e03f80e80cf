"""What the tests through nginx use: visitors, and a second nginx whose files are changed on purpose."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from deploy.native.nginx import nginx_in
from deploy.native.scratch import Scratch, free_ports
from tests.stack.visitor import Visitor, new_visitor


@pytest.fixture
def visitor(site: str) -> Iterator[Visitor]:
    """A browser that nobody knows yet."""
    with new_visitor(site) as visitor:
        yield visitor


@pytest.fixture
def member(site: str) -> Iterator[Visitor]:
    """A browser that has logged in."""
    with new_visitor(site) as visitor:
        visitor.log_in()
        yield visitor


ChangedNginx = Callable[..., str]


@pytest.fixture
def changed_nginx(stack: Scratch, tmp_path: Path) -> Iterator[ChangedNginx]:
    """Starts another nginx before the workers of a stack, with `old` replaced by `new` in one file.

    Returns its address, with `https` the one over https.  This is how a test shows that it would
    notice the line missing.
    """
    processes = []

    def start(
        file: str, old: str, new: str, before: Scratch = stack, *, https: bool = False
    ) -> str:
        port, https_port = free_ports(2)
        folder = tmp_path / str(port)
        _copy_changed(before, folder, (port, https_port), (file, old, new))
        process = subprocess.Popen(
            nginx_in(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        processes.append(process)
        _wait_for(f"http://127.0.0.1:{port}", process)
        return f"https://127.0.0.1:{https_port}" if https else f"http://127.0.0.1:{port}"

    yield start
    for process in processes:
        process.terminate()
        process.communicate()


def _copy_changed(
    stack: Scratch, folder: Path, ports: tuple[int, int], change: tuple[str, str, str]
) -> None:
    """The stack's rendered configuration, on other ports and with the one change."""
    name, old, new = change
    source = stack.folder / "state/nginx/conf"
    for path in source.rglob("*.conf"):
        copy = folder / "conf" / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text()
        for old_port, port in zip((stack.http_port, stack.https_port), ports, strict=True):
            text = text.replace(f":{old_port}", f":{port}")
        if path.name == name:
            assert old in text, f"{old!r} is not in {name}"
            text = text.replace(old, new)
        copy.write_text(text)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"{url}/healthz", trust_env=False).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.02)
    process.kill()
    pytest.fail(f"nginx did not start: {process.communicate()[1].decode()}")
