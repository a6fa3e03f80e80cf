"""Another nginx before the workers of a running stack, with files of its own changed on purpose."""

from __future__ import annotations

import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.free_port import free_ports
from deploy.native.nginx import nginx_in
from deploy.native.site import NativeSite
from deploy.refused import Refused
from deploy.supervisor.daemon import end_with_parent

PORT = re.compile(r":\d+\b")
LISTEN = re.compile(r"^([^#\n]*\blisten\s+)\S+(:\d+)\b", re.MULTILINE)
COMMENT = re.compile(r"#.*")
READY_SECONDS = 60.0  # a program that ends before is noticed at once
STOP_SECONDS = 20.0
Change = Callable[[str], str]


@dataclass(frozen=True)
class SecondNginx:
    """Where it answers."""

    url: str
    https_url: str
    pid: int


@contextmanager
def second_nginx(
    stack: NativeSite, folder: Path, changes: Mapping[str, Change]
) -> Iterator[SecondNginx]:
    """Runs on ports of its own and on 127.0.0.1 alone, with `stack`'s files but for the `changes` by name.

    Configuration and logs are in `folder`.  It ends with the block, or with this process.
    """
    moved = _copied(stack.state / "nginx/conf", folder / "conf", changes)
    with open(folder / "access.log", "wb") as access, open(folder / "nginx.log", "wb") as log:
        process = subprocess.Popen(
            nginx_in(folder),
            stdin=subprocess.DEVNULL,
            stdout=access,
            stderr=log,
            start_new_session=True,  # a terminal's Ctrl-C is for the experiment alone
            preexec_fn=end_with_parent,
        )
    at = SecondNginx(
        f"http://127.0.0.1{moved[f':{stack.http_port}']}",
        f"https://127.0.0.1{moved[f':{stack.https_port}']}",
        process.pid,
    )
    try:
        wait_for(f"{at.url}/healthz", process, folder / "nginx.log")
        yield at
    finally:
        process.terminate()  # a master that is killed leaves its workers behind
        process.wait(STOP_SECONDS)


def rewritten(pattern: str, new: str | Callable[[re.Match[str]], str], count: int = 0) -> Change:
    """The text with what matches, or the first `count` of it, replaced.

    Refused where no directive matches: a change of nothing would measure nothing.
    """

    def change(text: str) -> str:
        if not re.search(pattern, COMMENT.sub("", text)):
            raise Refused(f"nothing in the file is like {pattern!r}")
        return re.sub(pattern, new, text, count=count)

    return change


def replaced(old: str, new: str, count: int = 0) -> Change:
    """The same for a text that is not a pattern."""
    return rewritten(re.escape(old), lambda _: new, count)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when `url` answers 200; Refused with what the process wrote when it does not in time."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            time.sleep(0.02)
    raise Refused(f"{url} did not come up\n{log.read_text(errors='replace')}")


def _copied(source: Path, target: Path, changes: Mapping[str, Change]) -> dict[str, str]:
    """Copy a configuration with new ports and the changes; new `:PORT` by old."""
    files = {path.relative_to(source): path.read_text() for path in source.rglob("*.conf")}
    old = sorted({match[2] for text in files.values() for match in LISTEN.finditer(text)})
    moved = {name: f":{port}" for name, port in zip(old, free_ports(len(old)), strict=True)}
    missing = changes.keys() - {name.name for name in files}
    if missing:
        raise Refused(f"there is no {missing.pop()} in {source}")
    for name, text in files.items():
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = LISTEN.sub(r"\g<1>127.0.0.1\g<2>", text)
        text = PORT.sub(lambda match: moved.get(match[0], match[0]), text)
        copy.write_text(changes.get(name.name, str)(text))
    return moved
