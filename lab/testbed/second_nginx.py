"""Another nginx before the workers of a running stack, with files of its own changed on purpose."""

from __future__ import annotations

import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.native.nginx import nginx_in
from deploy.native.scratch import free_ports
from deploy.native.site import NativeSite

PORT = re.compile(r":\d+\b")
LISTEN = re.compile(r"\blisten\s[^#;]*?(:\d+)\b")
READY_SECONDS = 20.0
STOP_SECONDS = 20.0
Change = Callable[[str], str]


@dataclass(frozen=True)
class SecondNginx:
    """Where it answers."""

    url: str
    https_url: str


@contextmanager
def second_nginx(
    stack: NativeSite, folder: Path, changes: Mapping[str, Change]
) -> Iterator[SecondNginx]:
    """Runs on ports of its own, with `stack`'s files but for the `changes` by name.

    Configuration and logs are in `folder`.
    """
    moved = _copied(stack.state / "nginx/conf", folder / "conf", changes)
    with open(folder / "access.log", "wb") as access, open(folder / "nginx.log", "wb") as log:
        process = subprocess.Popen(
            nginx_in(folder), stdin=subprocess.DEVNULL, stdout=access, stderr=log
        )
    at = SecondNginx(
        f"http://127.0.0.1{moved[f':{stack.http_port}']}",
        f"https://127.0.0.1{moved[f':{stack.https_port}']}",
    )
    try:
        wait_for(f"{at.url}/healthz", process, folder / "nginx.log")
        yield at
    finally:
        process.terminate()  # a master that is killed leaves its workers behind
        process.wait(STOP_SECONDS)


def replaced(old: str, new: str) -> Change:
    """The text with each `old` replaced by `new`; nothing may replace nothing."""

    def change(text: str) -> str:
        assert old in text, f"{old!r} is not in the file"
        return text.replace(old, new)

    return change


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when `url` answers 200; fails with what the process wrote when it does not in time."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except (OSError, urllib.error.URLError):
            time.sleep(0.02)
    raise RuntimeError(f"{url} did not come up\n{log.read_text()}")


def _copied(source: Path, target: Path, changes: Mapping[str, Change]) -> dict[str, str]:
    """Copy a configuration with new ports and the changes; new `:PORT` by old."""
    files = {path.relative_to(source): path.read_text() for path in source.rglob("*.conf")}
    moved = _new_ports(files.values())
    missing = changes.keys() - {name.name for name in files}
    assert not missing, f"there is no {missing.pop()}"
    for name, text in files.items():
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = PORT.sub(lambda match: moved.get(match[0], match[0]), text)
        copy.write_text(changes.get(name.name, str)(text))
    return moved


def _new_ports(texts: Iterable[str]) -> dict[str, str]:
    """`:PORT` for each `:PORT` that nginx listens on."""
    old = sorted({match[1] for text in texts for match in LISTEN.finditer(text)})
    return {name: f":{port}" for name, port in zip(old, free_ports(len(old)), strict=True)}
