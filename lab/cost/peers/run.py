"""The servers of this folder, each in a process of its own, with visitors logged in.

`make bench PEERS=1` installs what they need into .stack/peers, from the lock files beside this.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.paths import ROOT
from lab.cost.generator import Failed, Target
from lab.cost.ratios import Comparison
from lab.cost.site import data_of
from lab.testbed.servers import free_port
from lab.testbed.workers import clean_environment

HERE = Path(__file__).parent
INSTALLED = ROOT / ".stack/peers"
PYTHON = INSTALLED / "venv/bin/python"
START_SECONDS = 20
GUNICORN = ("-m", "gunicorn", "--chdir", str(HERE), "--log-level", "error", "flask_server:app")


@dataclass(frozen=True)
class Peer:
    """What people would use instead; `parts` are the packages whose versions matter."""

    name: str
    parts: tuple[str, ...]
    command: tuple[str, ...]

    def comparison(self, versions: Mapping[str, str]) -> Comparison:
        """Our session read by theirs."""
        exact = ", ".join(f"{part} {versions[part]}" for part in self.parts)
        return Comparison(f"session read / {exact}", "read", self.name)


PEERS = (
    Peer(
        "aiohttp-session",
        ("aiohttp-session", "aiohttp"),
        (str(PYTHON), str(HERE / "aiohttp_server.py")),
    ),
    Peer(
        "starsessions",
        ("starsessions", "starlette", "uvicorn"),
        (str(PYTHON), str(HERE / "starsessions_server.py")),
    ),
    Peer("Flask-Session", ("flask-session", "flask", "gunicorn"), (str(PYTHON), *GUNICORN)),
)
EXPRESS = Peer(
    "express-session",
    ("express-session", "connect-redis", "express"),
    ("node", str(INSTALLED / "express_server.js")),
)


def installed() -> Sequence[Peer]:
    """Those that can run here; Failed when nothing was installed."""
    if not PYTHON.exists():
        raise Failed("nothing to compare with is installed: `make bench PEERS=1` does that")
    express = shutil.which("node") and (INSTALLED / "node_modules").exists()
    return (*PEERS, EXPRESS) if express else PEERS


def versions() -> dict[str, str]:
    """Of every package, as the lock files have them."""
    python = (HERE / "requirements.txt").read_text()
    node: dict[str, str] = json.loads((HERE / "package.json").read_text())["dependencies"]
    return dict(re.findall(r"^([\w-]+)==([\w.]+)", python, re.MULTILINE)) | node


@contextmanager
def running(peers: Sequence[Peer], redis_url: str, visitors: int) -> Iterator[list[Target]]:
    """Each peer with that many sessions, while the block runs."""
    with ExitStack() as processes:
        yield [processes.enter_context(_running(peer, redis_url, visitors)) for peer in peers]


@contextmanager
def _running(peer: Peer, redis_url: str, visitors: int) -> Iterator[Target]:
    port = free_port()
    # gunicorn takes its address from the environment, the others from their arguments.
    settings = {"REDIS_URL": redis_url, "GUNICORN_CMD_ARGS": f"--bind=127.0.0.1:{port}"}
    arguments = () if "gunicorn" in peer.command else (str(port), redis_url)
    environment = clean_environment(**settings, NODE_ENV="production", PYTHONWARNINGS="ignore")
    with subprocess.Popen([*peer.command, *arguments], env=environment) as process:
        try:
            logged_in = _log_in(f"http://127.0.0.1:{port}", process, visitors)
            yield Target(peer.name, port, "/", logged_in[0], logged_in[1])
        finally:
            process.terminate()  # gunicorn's master ends its worker


def _log_in(url: str, process: subprocess.Popen[bytes], visitors: int) -> tuple[int, list[str]]:
    """The process that answers, and the visitors' Cookie headers."""
    pid, cookies = 0, []
    transport = httpx.HTTPTransport(retries=0)
    with httpx.Client(base_url=url, transport=transport, trust_env=False, timeout=10) as http:
        _wait(http, process)
        for number in range(visitors):
            http.cookies.clear()
            answer = http.post("/login", json={"user": f"visitor-{number}", **data_of(number)})
            pid = answer.raise_for_status().json()["pid"]
            cookies.append(answer.headers["Set-Cookie"].partition(";")[0])
    return pid, cookies


def _wait(http: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            http.get("/")
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise Failed(f"{process.args!r} did not start")
