"""What is said on a machine that lacks something for Docker; the real Docker is asked in tests/compose."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.operations.docker_lacks import lacks
from deploy.operations.docker_up import docker_up
from deploy.operations.find import running_stack
from deploy.paths import ROOT
from deploy.refused import Refused

NO_COMPOSE = "echo 'docker: unknown command: docker compose' >&2; exit 1"  # as docker 28 says it
NO_ENGINE = "echo 'Cannot connect to the Docker daemon at unix:///x. Is it running?' >&2; exit 1"
MACHINES = {
    "without Compose": (NO_COMPOSE, "echo 28.2.2", "Docker Compose is not installed"),
    "old Compose": ("echo v2.19.1", "echo 28.2.2", "Compose v2.19.1 is too old, and 2.20.2"),
    "no engine": ("echo 2.20.2", NO_ENGINE, "no Docker engine answers (Cannot connect to"),
    "old engine": ("echo 2.26.1-4", "echo 24.0.9", "Docker Engine 24.0.9 is too old, and 25"),
}


def docker(folder: Path, compose: str, engine: str) -> Path:
    """A `docker` that answers as one on such a machine."""
    script = folder / "docker"
    script.write_text(
        f"#!/bin/sh\ncase $1 in compose) {compose};; version) {engine};; *) exit 1;; esac\n"
    )
    script.chmod(0o755)
    return folder


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_missing(machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says which part is missing or too old, and names what brings it without a registry."""
    compose, engine, wanted = MACHINES[machine]
    monkeypatch.setenv("PATH", str(docker(tmp_path, compose, engine)))
    said = lacks() or ""

    assert said.startswith(wanted)
    assert "deploy/offline/" in said
    assert "\n" not in said


def test_no_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Docker that is said, and a command that looked for a stack in it gives the reason."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert (lacks() or "").startswith("Docker is not installed; deploy/offline/install-engine")
    with pytest.raises(Refused, match=r"no stack is running.*\(Docker is not installed; deploy"):
        running_stack({"STACK": "docker", "ENV_FILE": ""})


@pytest.mark.parametrize("compose", ["2.20.2", "v2.38.1", "5.0.0-desktop.1"])
def test_nothing_is_missing(compose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From Compose 2.20.2 and Docker Engine 25 on nothing is."""
    folder = docker(tmp_path, f"echo {compose}", "echo 25.0.0")
    monkeypatch.setenv("PATH", str(folder))

    assert lacks() is None


def test_folder_without_a_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder whose name gives Compose no project name, the remedy is said."""
    config = "case $2 in version) echo 2.26.1;; *) echo project name must not be empty >&2; exit 15;; esac"
    monkeypatch.setenv("PATH", f"{docker(tmp_path, config, 'echo 28.2.2')}:{os.environ['PATH']}")

    with pytest.raises(Refused, match="write COMPOSE_PROJECT_NAME=stack"):
        docker_up({"ENV_FILE": ""})


def test_no_venv_is_needed() -> None:
    """`make run STACK=docker` needs the standard library alone, so nothing is installed before it says what is missing."""
    code = "import deploy.__main__, deploy.operations.docker_up"
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(ROOT)!r}); {code}"],
        check=True,
    )
