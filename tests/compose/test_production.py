"""Production settings in Docker: refused with a name when something is missing, and served when all is given."""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.accounts import hash_password
from tests.compose.conftest import running
from tests.compose.container import removed
from tests.compose.stack import Stack, free_port

SECRET = secrets.token_urlsafe(32)
PASSWORD = secrets.token_urlsafe(12)


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        ({}, "SESSION_SECRETS is not set"),
        ({"SESSION_SECRETS": SECRET}, "USERS_FILE is not set"),
        ({"SESSION_SECRETS": SECRET, "DEMO_PASSWORD": "demo"}, "DEMO_PASSWORD is set"),
    ],
    ids=["no-secret", "no-users", "demo-password"],
)
def test_incomplete_production_is_refused(
    stack: Stack, given: dict[str, str], refusal: str
) -> None:
    """A worker that must not start as it is says which variable is wrong."""
    options = [
        f"--env={name}={value}" for name, value in {"APP_ENV": "production", **given}.items()
    ]
    worker = ("python", "-m", "app", "--port", "8001")
    result = stack.attempt("run", "--rm", "--no-deps", "--no-TTY", *options, "app", *worker)
    assert result.returncode != 0
    assert refusal in result.stdout + result.stderr


def test_container_refuses_wrong_settings_once(stack: Stack) -> None:
    """A setting that cannot be used ends the app container with 2 and one line, not one a worker."""
    option = "--env=SESSION_IDLE_SECONDS=never"
    result = stack.attempt("run", "--rm", "--no-deps", "--no-TTY", option, "app")
    said = result.stdout + result.stderr
    assert result.returncode == 2
    assert said.count("SESSION_IDLE_SECONDS=never is not a number") == 1


def test_container_ends_when_a_worker_cannot_be_kept_running(stack: Stack) -> None:
    """A worker that dies at each of its starts ends the app container with 1 and the worker's name."""
    name = f"dying-{secrets.token_hex(4)}"
    stack.compose("run", "--detach", "--no-deps", "--name", name, "app")
    with removed(name) as container:
        deadline = time.monotonic() + 60
        while container.is_running():
            assert time.monotonic() < deadline, "the container outlived its worker"
            container.kill("--port 8001")
            time.sleep(0.2)
        assert container.exit_code() == 1
        assert "worker-8001 could not be kept running" in container.said()


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack with a secret and one account, each from a file on the host."""
    # The folder has mode 700; inside, the container's user must be able to read.
    folder = tmp_path_factory.mktemp("production")
    secret, users = folder / "secret", folder / "users"
    secret.write_text(SECRET + "\n")
    users.write_text(f"ann:{hash_password(PASSWORD)}\n")
    for file in (secret, users):
        file.chmod(0o644)
    yield from running(
        Stack(
            f"test-{secrets.token_hex(4)}",
            free_port(),
            APP_ENV="production",
            SESSION_SECRETS_FILE=str(secret),
            USERS_FILE=str(users),
        )
    )


def test_production_with_files(production: Stack) -> None:
    """With both files given, the account logs in, the demo password does not, and no secret is in the environment."""
    with production.visitor("ann", PASSWORD, https=True) as browser:
        assert browser.get("/api/session").json()["user"] == "ann"
        form = {"username": "ann", "password": "demo", "next": "/"}
        assert browser.post("/login", data=form).status_code == 401
    assert SECRET not in str(production.container("app")["Config"]["Env"])


def test_production_is_https_only(production: Stack) -> None:
    """Without being told to, production leads from http to https."""
    answer = httpx.get(f"{production.url}/login", trust_env=False)

    assert answer.headers["Location"] == f"{production.https_url}/login"


def test_no_protocol_with_known_holes(production: Stack, stack: Stack) -> None:
    """Production speaks TLS 1.2 alone with the pinned nginx, which has a known hole in 1.3; the demo speaks 1.3."""
    assert [spoken(production), spoken(stack)] == ["TLSv1.2", "TLSv1.3"]


def spoken(stack: Stack) -> str | None:
    """The newest TLS that a stack agrees to."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port_of(stack)), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as tls,
    ):
        return tls.version()


def port_of(stack: Stack) -> int:
    return int(stack.https_url.rpartition(":")[2])


def test_demo_password_from_a_file(tmp_path: Path) -> None:
    """In demo the password may come from a file; then that one logs in, and `demo` does not."""
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    file.chmod(0o644)
    name = f"test-{secrets.token_hex(4)}"
    for stack in running(Stack(name, free_port(), DEMO_PASSWORD_FILE=str(file))):
        with stack.visitor("ann", PASSWORD) as browser:
            assert browser.get("/api/session").json()["user"] == "ann"
        form = {"username": "ann", "password": "demo", "next": "/"}
        assert httpx.post(f"{stack.url}/login", data=form, trust_env=False).status_code == 401
