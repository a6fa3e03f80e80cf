"""What the engine knows of a stack in Swarm."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from typing import Any

from deploy.docker import docker
from deploy.read_number import read_whole

NAMESPACE = "com.docker.stack.namespace"
DEFAULT_NAME = "round-robin"


def stack_name(environ: Mapping[str, str]) -> str:
    """What the stack is called in Swarm."""
    return environ.get("SWARM_STACK") or DEFAULT_NAME


def app_tasks(environ: Mapping[str, str]) -> str:
    """How many tasks of the workers there should be; Refused when that is no number."""
    return str(read_whole(environ, "APP_TASKS", 2, least=1, most=1000))


def is_manager() -> bool:
    """Whether this engine is one that takes commands for a swarm."""
    if shutil.which("docker") is None:
        return False
    return docker("info", "--format", "{{.Swarm.ControlAvailable}}", check=False).strip() == "true"


def services(name: str) -> list[dict[str, Any]]:
    """What the engine knows of each service of a stack, which may be none."""
    ids = docker("service", "ls", "--quiet", "--filter", f"label={NAMESPACE}={name}").split()
    found: list[dict[str, Any]] = json.loads(docker("service", "inspect", *ids)) if ids else []
    return found


def tasks(service: str) -> list[dict[str, Any]]:
    """What the engine knows of each task of a service that it still remembers, the newest first."""
    ids = docker("service", "ps", "--quiet", "--no-trunc", service, check=False).split()
    found: list[dict[str, Any]] = (
        json.loads(docker("inspect", "--type", "task", *ids)) if ids else []
    )
    return sorted(found, key=lambda task: str(task["CreatedAt"]), reverse=True)
