"""`make run STACK=docker` with the real Docker: where it lacks something, and where it does not."""

from __future__ import annotations

import subprocess

import httpx

from tests.compose.stack import Stack


def run(stack: Stack, **settings: str) -> subprocess.CompletedProcess[str]:
    return stack.command("make", "--no-print-directory", "run", "STACK=docker", **settings)


def test_no_engine(stack: Stack) -> None:
    """A client whose engine is away ends it in one line, which names the address and deploy/offline."""
    done = run(stack, DOCKER_HOST="unix:///no/engine.sock")
    (said,) = [line for line in done.stderr.splitlines() if not line.startswith("make:")]

    assert done.returncode
    assert said.startswith("error: no Docker engine answers (Cannot connect to the Docker daemon")
    assert "unix:///no/engine.sock" in said
    assert "deploy/offline/start-engine" in said


def test_no_registry(stack: Stack) -> None:
    """An image that no registry has is named in one line, with the script that makes the images."""
    done = run(stack, NGINX_IMAGE="127.0.0.1:9/nginx")
    (said,) = [line for line in done.stderr.splitlines() if not line.startswith("make:")]

    assert done.returncode
    assert said.startswith("error: no registry has 127.0.0.1:9/nginx (")
    assert "deploy/offline/build-images" in said


def test_nothing_is_missing(stack: Stack) -> None:
    """Where all is there, the last lines say where the site answers and how to stop it."""
    done = run(stack)

    assert done.returncode == 0, done.stderr
    assert f"\n  {stack.url}/\n" in done.stdout
    assert "stop: docker compose down" in done.stdout
    assert httpx.get(f"{stack.url}/healthz", trust_env=False).status_code == 200
