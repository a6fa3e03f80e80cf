"""`make swarm-up`: build the images, deploy the stack with its configs and secrets, and wait until it runs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

from deploy.ask import NoAnswer, ask
from deploy.docker import docker
from deploy.native.options import read_environ, read_options
from deploy.operations.check import check_without_stack
from deploy.paths import ROOT
from deploy.refused import Refused
from deploy.swarm.docker import app_tasks, is_manager, stack_name
from deploy.swarm.files import has_own_redis, has_replicas, write_files
from deploy.swarm.follow import follow
from deploy.upstream.read import Upstream

HERE = ROOT / "deploy/swarm"
FOUND_SECONDS = 20.0
LABEL = "round-robin-redis"
NO_SWARM = "this engine manages no swarm: `docker swarm init` makes one (--advertise-addr where it has several addresses)"


def swarm_up(environ: Mapping[str, str]) -> None:
    """Return when the services run as deployed.  Refused says what failed; then the earlier tasks still serve."""
    environ = read_environ(environ)
    if not is_manager():
        raise Refused(NO_SWARM)
    upstream = check_without_stack(environ)
    _choose_redis_nodes(3 if has_replicas(environ) else 1)
    name, folder = stack_name(environ), read_options(environ).stack_dir / "swarm"
    variables = {**environ, **_variables(environ, name, folder, upstream)}
    files = [HERE / "stack.yml"]
    files += [] if has_own_redis(environ) else [HERE / "external-redis.yml"]
    files += [HERE / "ha.yml"] if has_replicas(environ) else []
    profiles = environ.get("COMPOSE_PROFILES", "").split(",")
    files += [HERE / "watch.yml"] if "watch" in profiles else []
    options = [word for path in files for word in ("--compose-file", str(path))]
    # Without a registry there is nothing to ask.
    resolve = "always" if "/" in variables["APP_IMAGE"] else "never"
    began = time.time()
    how = ("--detach=true", "--prune", "--resolve-image", resolve)
    docker("stack", "deploy", *how, *options, name, environ=variables)
    follow(name, began)
    port = variables["HTTP_PORT"]
    _wait_for_workers(f"http://127.0.0.1:{port}", name)
    print(
        f"serving on port {port} of every node; `docker stack services {name}` lists the services"
    )
    if environ.get("APP_ENV") != "production":
        print(
            "it is the demo, and open to everybody who reaches this machine: APP_ENV=production is for visitors"
        )


def _wait_for_workers(url: str, name: str) -> None:
    """Until nginx of this node, if there is one, has found a worker: it looks names up once a second."""
    deadline = time.monotonic() + FOUND_SECONDS
    said = 0
    while time.monotonic() < deadline:
        try:
            said = ask(url, "/healthz").status
        except NoAnswer:
            said = 0
        if said == 200:
            return
        time.sleep(0.2)
    if said:
        raise Refused(f"nginx finds no worker that is ready: `docker service logs {name}_nginx`")


def _variables(
    environ: Mapping[str, str], name: str, folder: Path, upstream: Upstream
) -> dict[str, str]:
    """What stack.yml is filled in with, beside the settings themselves."""
    images = _images()
    production = environ.get("APP_ENV") == "production"
    return {
        "STACK": name,
        "FILES": str(folder),
        "HTTP_PORT": environ.get("HTTP_PORT") or "8080",
        "HTTPS_PORT": str(read_options(environ).https.port),
        "APP_TASKS": app_tasks(environ),
        "USERS_PATH": "/run/secrets/users" if environ.get("USERS_FILE") else "",
        "TLS_CERT_PATH": "/run/secrets/tls_cert" if environ.get("TLS_CERT") else "",
        "TLS_KEY_PATH": "/run/secrets/tls_key" if environ.get("TLS_KEY") else "",
        # Over IPv6 visitors come from the gateway of Docker's network, which is exempt otherwise.
        "EXEMPT_NETWORKS": environ.get("EXEMPT_NETWORKS") or ("127.0.0.1" if production else ""),
        **images,
        **write_files(environ, folder, upstream),
    }


def _images() -> dict[str, str]:
    """Names of the images; ours is built, and tagged by what is in it: the same tag would not be rolled out."""
    config = json.loads(docker("compose", "config", "--format", "json"))["services"]
    built = config["app"]["image"]
    print(f"building {built} …", flush=True)
    docker("compose", "build", "--quiet", "app")
    identity = docker("image", "inspect", "--format", "{{.Id}}", built).strip().partition(":")[2]
    tagged = f"{_untagged(built)}:{identity[:12]}"
    docker("image", "tag", built, tagged)
    if "/" in tagged:
        print(f"pushing {tagged} …", flush=True)
        docker("push", "--quiet", tagged)
    return {
        "APP_IMAGE": tagged,
        "NGINX_IMAGE": config["nginx"]["image"],
        "REDIS_IMAGE": config["redis"]["image"],
    }


def _untagged(image: str) -> str:
    head, colon, tail = image.rpartition(":")
    return head if colon and "/" not in tail else image


def _choose_redis_nodes(count: int) -> None:
    """For each server of Redis whose volume has no node yet: this one for the first, others as far as there are any."""
    here = docker("info", "--format", "{{.Swarm.NodeID}}").strip()
    shown = docker("node", "ls", "--format", "{{.ID}} {{.Status}} {{.Availability}}").splitlines()
    working = [line.split()[0] for line in shown if line.endswith(" Ready Active")]
    nodes = [here, *(node for node in working if node != here)]
    for number in range(count):
        label = f"{LABEL}-{number + 1}" if number else LABEL
        if not docker("node", "ls", "--quiet", "--filter", f"node.label={label}=yes").strip():
            node = nodes[number % len(nodes)]
            docker("node", "update", "--label-add", f"{label}=yes", node)
            name = docker("node", "inspect", "--format", "{{.Description.Hostname}}", node).strip()
            print(f"Redis will stay on node {name} (label {label})")
