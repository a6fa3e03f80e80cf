"""Commands act on the stack that is meant: the running one of this STACK_DIR, wherever it answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from deploy.certificate import make_pair
from deploy.free_port import free_ports
from deploy.lock import held
from deploy.native.scratch import Scratch
from deploy.operations.find import find_stack
from lab.operations.ours import OursNative
from lab.operations.prove import our_native
from tests.conftest import StartStack
from tests.stack.operating import run_module, settings_of

pytestmark = pytest.mark.native
FACTS = ("HOST", "WORKERS", "WEIGHTS", "POLICY")
SCRIPT = f"import os; print(*map(os.environ.get, {FACTS}))"


def found(stack: Scratch, **settings: str) -> str:
    """What `with-stack` tells a command, for somebody who knows the folder of `stack` alone."""
    own = {"STACK": "native", "STACK_DIR": str(stack.state)} | settings
    done = run_module("deploy", "with-stack", "--", sys.executable, "-c", SCRIPT, **own)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


class OtherSite(BaseHTTPRequestHandler):
    """Another site of this kind."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("X-Served-By", "127.0.0.1:8001")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def other_site() -> Iterator[int]:
    """Its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), OtherSite) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def test_wherever_it_answers(stack: Scratch) -> None:
    """`make loadtest` loads the stack of this folder, whatever else answers at the port of the settings."""
    with other_site() as port:
        told = found(stack, HTTP_PORT=str(port))

    assert told == f"{stack.url} 4 1,1,1,1 round_robin"


def test_as_it_is_served(start_stack: StartStack) -> None:
    """What is expected of a stack follows from the list it serves, not from one edited since, or the caller's."""
    stack = start_stack()
    text = stack.upstream_conf.read_text()
    stack.upstream_conf.write_text(text.replace(f"app:{stack.worker_ports[0]}", "192.0.2.1:9000"))
    assert run_module("deploy", "status", **settings_of(stack)).returncode == 0

    assert found(stack) == f"{stack.url} 4 1,1,1,1 round_robin"


@pytest.mark.long
def test_another_site_is_not_meant(tmp_path: Path) -> None:
    """Where no stack of this folder runs, one is started, though another site answers at HTTP_PORT."""
    with other_site() as port:
        settings = {"STACK_DIR": str(tmp_path / "none"), "HTTP_PORT": str(port), "STACK": "native"}
        done = run_module("deploy", "with-stack", "--", sys.executable, "-c", SCRIPT, **settings)

    assert "no stack of this folder is running: starting one for this" in done.stdout, done.stderr
    assert not done.stdout.splitlines()[-1].startswith(f"http://127.0.0.1:{port} ")


def test_starting_is_not_running(tmp_path: Path) -> None:
    """While `make run` has only begun, no second stack is started: it says to try again."""
    with held(tmp_path / "run.pid"):
        settings = {"STACK_DIR": str(tmp_path), "STACK": "native"}
        done = run_module("deploy", "with-stack", "--", "true", **settings)

    assert done.returncode == 1
    assert "only just starting or stopping: try again in a moment" in done.stderr


def test_unnamed_workers(start_stack: StartStack) -> None:
    """With SERVED_BY=0 the load test says that it needs the names, instead of starting another stack."""
    stack = start_stack(SERVED_BY="0")
    command = ("deploy", "with-stack", "--", sys.executable, "-m", "loadtest")
    done = run_module(*command, **settings_of(stack))

    assert done.returncode == 14
    assert "SERVED_BY=1" in done.stdout
    assert "starting" not in done.stdout


def test_https_only(start_stack: StartStack) -> None:
    """Where http only leads to https, the load test is told the address over https."""
    stack = start_stack(HTTPS_ONLY="1")

    assert found(stack).startswith(f"{stack.https_url} ")


@pytest.mark.long
def test_names_of_the_certificate(start_stack: StartStack, tmp_path: Path) -> None:
    """With a certificate for another name, the address that is printed has this name."""
    pair = make_pair(["*.shop.example", "shop.example"])
    (tmp_path / "chain.pem").write_bytes(pair.chain)
    (tmp_path / "key.pem").write_bytes(pair.key)
    stack = start_stack(TLS_CERT=str(tmp_path / "chain.pem"), TLS_KEY=str(tmp_path / "key.pem"))

    assert f"https://www.shop.example:{stack.https_port}/" in stack.said
    assert stack.https_url not in stack.said
    assert f"{stack.url}/" in stack.said


def test_already_running(stack: Scratch) -> None:
    """A second run names the address of the first, not the one it was to have itself."""
    (port,) = free_ports(1)
    done = run_module("deploy", "run", **{**settings_of(stack), "HTTP_PORT": str(port)})

    assert done.returncode == 1
    assert f"already running at {stack.url} (" in done.stderr
    assert "make stop" in done.stderr


def test_proof_operations(stack: Scratch) -> None:
    """`make proof-operations` operates on the running stack, and puts its list of workers back."""
    environ = settings_of(stack)
    before = stack.upstream_conf.read_bytes()
    with our_native(environ, find_stack(environ)) as site:
        OursNative(site).drain(stack.worker_ports[0])
        assert b" down;" in stack.upstream_conf.read_bytes()

    assert site.url == stack.url
    assert stack.upstream_conf.read_bytes() == before
    assert "out of rotation" not in run_module("deploy", "status", **environ).stdout
