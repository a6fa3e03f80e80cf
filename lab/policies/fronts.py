"""One more nginx for each balancing policy, before the workers of a native stack: for `make compare`.

Each is the stack's own configuration with one line changed.  Only here is a forwarded address
believed, and only from 127.0.0.1, where the load generator is: the stack itself believes none.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.native.nginx import nginx_in
from deploy.native.scratch import free_ports
from deploy.native.site import NativeSite
from deploy.refused import Refused
from deploy.supervisor.daemon import end_with_parent
from deploy.upstream.read import POLICIES

ZONE = r"\bzone\s[^;]*;"
POLICY = rf"\b({'|'.join(POLICIES)})\b[^;#]*;"
RETRY = "proxy_next_upstream error timeout"
START_SECONDS = 15.0
FORWARDED = """# Only for a comparison: the load generator says which client it speaks for.
set_real_ip_from 127.0.0.1;
real_ip_header X-Forwarded-For;
"""


@dataclass(frozen=True)
class Front:
    """What is changed: the policy's line; a worker that answers 500 at once; a retry after a 500."""

    policy: str = ""
    failing: bool = False
    retried: bool = False


FRONTS: Mapping[str, Front] = {
    "round_robin": Front(),
    "least_conn": Front("least_conn;"),
    "random_two": Front("random two least_conn;"),
    "ip_hash": Front("ip_hash;"),
    "sticky_cookie": Front("hash $cookie_sid consistent;"),
    "failing_round_robin": Front(failing=True),
    "failing_least_conn": Front("least_conn;", failing=True),
    "failing_retried": Front("least_conn;", failing=True, retried=True),
}


@contextmanager
def running_fronts(
    stack: NativeSite, fronts: Mapping[str, Front] = FRONTS
) -> Iterator[dict[str, str]]:
    """The address of each front, by name; they run while the block does."""
    ports = free_ports(2 * len(fronts))
    with TemporaryDirectory(prefix="fronts-") as place, ExitStack() as running:
        addresses = {}
        for name, front in fronts.items():
            port, dead_port = ports.pop(), ports.pop()
            folder = Path(place) / name
            render_front(stack, folder, front, port, dead_port)
            running.enter_context(_running(folder, port))
            addresses[name] = f"http://127.0.0.1:{port}"
        yield addresses


def render_front(stack: NativeSite, folder: Path, front: Front, port: int, dead_port: int) -> None:
    """Write the stack's rendered configuration into `folder`, changed as `front` says."""
    conf = folder / "conf"
    shutil.copytree(stack.state / "nginx/conf", conf)
    _change(conf / "site.conf", rf"listen \S*:{stack.http_port}\b", f"listen 127.0.0.1:{port}")
    # Compared over http alone; the port of https is the stack's own.
    _change(conf / "site.conf", rf"listen \S*:{stack.https_port} ssl", "# listen")
    _change(conf / "nginx.conf", "(include upstream.conf;)", r"include forwarded.conf;\n\1")
    # Policies are compared by how they queue: no worker is taken out for a long queue.
    _change(conf / "snippets/proxy.conf", "proxy_read_timeout 2s", "proxy_read_timeout 30s")
    upstream = conf / "upstream.conf"
    upstream.write_text(re.sub(POLICY, "", upstream.read_text()))
    _change(upstream, f"({ZONE})", rf"\1 {front.policy}")
    (conf / "forwarded.conf").write_text(FORWARDED)
    if front.failing:
        _change(upstream, rf":{stack.worker_ports[0]}\b", f":{dead_port}")
        failing = f"server {{ listen 127.0.0.1:{dead_port}; return 500; access_log off; }}\n"
        (conf / "forwarded.conf").write_text(FORWARDED + failing)
    if front.retried:
        _change(conf / "snippets/proxy.conf", f"({RETRY})", r"\1 http_500")


def _change(path: Path, pattern: str, new: str) -> None:
    text = path.read_text()
    if not re.search(pattern, re.sub(r"#.*", "", text)):
        raise Refused(f"{path.name} has nothing like {pattern!r} to change")
    path.write_text(re.sub(pattern, new, text))


@contextmanager
def _running(folder: Path, port: int) -> Iterator[None]:
    with open(folder / "nginx.log", "wb") as log:
        process = subprocess.Popen(
            nginx_in(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the access log
            stderr=log,
            start_new_session=True,  # a terminal's Ctrl-C is for the comparison alone
            preexec_fn=end_with_parent,
        )
    try:
        _wait(process, port, folder / "nginx.log")
        yield
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2).close()
            return
        except OSError:
            time.sleep(0.02)
    raise Refused(f"nginx did not start\n{log.read_text(errors='replace')}")
