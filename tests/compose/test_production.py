"""Production settings in Docker: refused with a name when something is missing, and served when all is given."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.accounts import hash_password
from tests.compose.conftest import free_port, running
from tests.compose.stack import Stack

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


def test_container_ends_when_a_worker_cannot_start(stack: Stack) -> None:
    """A program in FATAL ends the app container with 1, the worker's name and the reason."""
    option = "--env=SESSION_IDLE_SECONDS=never"
    result = stack.attempt("run", "--rm", "--no-deps", "--no-TTY", option, "app")
    said = result.stdout + result.stderr
    assert result.returncode == 1
    assert "SESSION_IDLE_SECONDS=never is not a number" in said
    assert "could not be kept running" in said


@pytest.fixture
def production(tmp_path: Path) -> Iterator[Stack]:
    """The stack with a secret and one account, each from a file on the host."""
    # tmp_path has mode 700; inside, the container's user must be able to read.
    secret, users = tmp_path / "secret", tmp_path / "users"
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
    with production.visitor("ann", PASSWORD) as browser:
        assert browser.get("/api/session").json()["user"] == "ann"
    form = {"username": "ann", "password": "demo", "next": "/"}
    assert httpx.post(f"{production.url}/login", data=form, trust_env=False).status_code == 401
    assert SECRET not in str(production.container("app")["Config"]["Env"])
