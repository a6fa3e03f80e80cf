"""`make run STACK=docker`: `docker compose up`, after a look at what the machine has for it.

Needs no .venv: whoever has Docker needs nothing else.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

from deploy.docker import run_docker
from deploy.native.env_file import read_settings_file
from deploy.networks import in_url, reachable
from deploy.operations.docker_lacks import lacks
from deploy.paths import ROOT
from deploy.refused import Refused

# Compose names a project after its folder, and takes only these characters of it.
UNNAMED = (
    "the name of this folder has no letter a-z and no digit, which Compose needs for the project's name: "
    "write COMPOSE_PROJECT_NAME=stack into .env"
)
BUILD = "deploy/offline/build-images makes the images from Debian packages, without a registry"


def docker_up(environ: Mapping[str, str]) -> None:
    """Return when every container is healthy.  Refused says in one line what the machine lacks, and the remedy."""
    read_settings_file(environ)  # Refused where Compose would read a line differently
    if missing := lacks():
        raise Refused(missing)
    compose = ["compose", *_env_file(environ)]
    services = _services(compose)
    for image in sorted(image for image in _wanted(services.values()) if not _is_here(image)):
        _pull(image)
    up = ["docker", *compose, "up", "--detach", "--wait"]
    if subprocess.run(up, cwd=ROOT, check=False).returncode:
        raise Refused("`docker compose up` failed; `docker compose logs` may say more")
    port = services["nginx"]["ports"][0]
    url = f"http://{in_url(reachable(port['host_ip']))}:{port['published']}"
    print(f"\n  {url}/\n  logs: docker compose logs -f   stop: docker compose down\n")


def _env_file(environ: Mapping[str, str]) -> list[str]:
    """ENV_FILE means the same as for `make run` without Docker."""
    return ["--env-file", environ["ENV_FILE"] or "/dev/null"] if "ENV_FILE" in environ else []


def _services(compose: list[str]) -> dict[str, Any]:
    """As Compose reads them now."""
    done = run_docker(*compose, "config", "--format", "json", check=False)
    if done.returncode:
        complaint = done.stderr.strip()
        raise Refused(UNNAMED if complaint == "project name must not be empty" else complaint)
    return dict(json.loads(done.stdout)["services"])


def _wanted(services: Iterable[Any]) -> set[str]:
    """The images that the services and their builds begin with."""
    services = list(services)
    built = {service["image"]: service["build"] for service in services if "build" in service}
    pulled = {service["image"] for service in services} - set(built)
    return pulled | {
        build["args"]["PYTHON_IMAGE"] for image, build in built.items() if not _is_here(image)
    }


def _is_here(image: str) -> bool:
    return not run_docker("image", "inspect", image, check=False).returncode


def _pull(image: str) -> None:
    name = image.partition("@")[0]  # without the digest
    print(f"{name} is not on this machine: pulling it", flush=True)
    done = subprocess.run(["docker", "pull", image], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Refused(f"no registry has {name} ({why}); {BUILD}")
