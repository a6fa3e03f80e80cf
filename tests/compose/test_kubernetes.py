"""The pods of the demo overlay, run in Docker as their manifests say; a cluster is `make kubernetes-test`'s."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from deploy.paths import ROOT
from tests.compose.container import docker
from tests.compose.pods import HERE, Cluster, ConfigMap, settings, template
from tests.compose.stack import until

APP, NGINX = template("base/app.yaml", "app"), template("base/nginx.yaml", "nginx")
REDIS = template("demo/redis.yaml", "redis")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Redis, two workers and nginx, ready by the probes of their manifests."""
    folder = tmp_path_factory.mktemp("cluster")
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)  # the containers' users must get in
    config = json.loads(_output("docker", "compose", "config", "--format", "json"))["services"]
    subprocess.run(["docker", "compose", "build", "--quiet", "app"], cwd=ROOT, check=True)
    secret = yaml.safe_load(_output(str(HERE / "secrets")))["stringData"]
    found = Cluster(
        f"test-{secrets.token_hex(4)}",
        folder,
        {
            "tornado-round-robin-app": config["app"]["image"],
            "nginx": config["nginx"]["image"],
            "redis": config["redis"]["image"],
        },
        settings("demo"),
        _configs(folder),
        secret,
    )
    docker("network", "create", found.name)
    try:
        volume = {"name": "data", "emptyDir": {}}  # instead of the claim
        found.run({**REDIS, "volumes": [*REDIS["volumes"], volume]}, "redis", "redis")
        for pod in ("app-1", "app-2"):
            found.run(APP, pod, "app.round-robin.svc.cluster.local")
        found.run(NGINX, "nginx", "nginx")
        for pod, spec in (("app-1", APP), ("app-2", APP), ("nginx", NGINX)):
            (container,) = spec["containers"]
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                until(30, lambda: found.answers(pod, container[probe], container["ports"]))  # noqa: B023
        yield found
    finally:
        found.remove()
        docker("network", "rm", found.name)


def _configs(folder: Path) -> dict[str, ConfigMap]:
    nginx = {n: (ROOT / "nginx" / n).read_text() for n in ("nginx.conf", "site.conf", "start")}
    nginx["upstream.conf"] = (HERE / "base/upstream.conf").read_text()
    snippets = {path.name: path.read_text() for path in (ROOT / "nginx/snippets").iterdir()}
    redis = {n: (ROOT / "deploy/redis" / n).read_text() for n in ("redis.conf", "users.acl")}
    found = {
        "nginx": ConfigMap(folder / "configs/nginx", nginx),
        "nginx-snippets": ConfigMap(folder / "configs/snippets", snippets),
        "redis": ConfigMap(folder / "configs/redis", redis),
    }
    (
        folder / "configs/nginx/snippets"
    ).mkdir()  # where the kubelet lets one be mounted into the other
    return found


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@contextmanager
def browser(cluster: Cluster) -> Iterator[httpx.Client]:
    """One that has logged in."""
    url = f"http://{cluster.address('nginx')}:8080"
    with httpx.Client(base_url=url, trust_env=False) as client:
        answer = client.post("/login", data={"username": "ann", "password": "demo", "next": "/"})
        assert answer.status_code == 302
        yield client


def workers(client: httpx.Client) -> set[str]:
    """Who answers, of all that nginx has found."""
    return {client.get("/api/session").json()["worker"] for _ in range(4)}


def test_one_session_on_all_pods(cluster: Cluster) -> None:
    """nginx finds the workers' pods by their full name, takes turns, and a session is the same on each."""
    with browser(cluster) as client:
        found = [client.get("/api/session").json() for _ in range(8)]
    assert {one["user"] for one in found} == {"ann"}
    assert sorted(one["worker"] for one in found) == ["app-1:8001"] * 4 + ["app-2:8001"] * 4


def test_static_files_and_https(cluster: Cluster) -> None:
    """The container beside nginx has brought static files and a certificate."""
    address = cluster.address("nginx")
    with httpx.Client(verify=False, trust_env=False) as client:
        assert client.get(f"http://{address}:8080/static/errors/503.html").status_code == 200
        assert client.get(f"https://{address}:8443/login", headers={"Host": "localhost"}).is_success


def test_changed_configmap_is_a_reload_in_place(cluster: Cluster) -> None:
    """nginx reads a changed file within seconds, in the same container; one that it refuses changes nothing."""
    site = cluster.configs["nginx"].files["site.conf"]
    began = docker("inspect", "--format", "{{.State.StartedAt}}", cluster.full("nginx")).stdout

    def edit(line: str) -> None:
        cluster.configs["nginx"].change(
            {"site.conf": site.replace("location = /livez {", f"{line}\n    location = /livez {{")}
        )

    with browser(cluster) as client:
        edit("location = /edited { return 204; }")
        until(15, lambda: client.get("/edited").status_code == 204)
        edit("no_such_directive;")
        log = until(15, lambda: _log(cluster, "no_such_directive"))
        assert "unknown directive" in log
        assert client.get("/edited").status_code == 204
    assert (
        docker("inspect", "--format", "{{.State.StartedAt}}", cluster.full("nginx")).stdout == began
    )


def _log(cluster: Cluster, word: str) -> str:
    result = docker("logs", cluster.full("nginx"))
    return "\n".join(line for line in result.stderr.splitlines() if word in line)


def test_worker_drains_within_its_grace(cluster: Cluster) -> None:
    """A worker that is told to end does so by itself, well within the grace period, and its session goes on."""
    with browser(cluster) as client:
        try:
            docker(
                "stop", "--time", str(APP["terminationGracePeriodSeconds"]), cluster.full("app-2")
            )
            form = "{{.State.ExitCode}}"
            assert docker("inspect", "--format", form, cluster.full("app-2")).stdout.strip() == "0"
            answer = client.get("/api/session")
            assert answer.status_code == 200, docker("logs", "--tail", "6", cluster.full("nginx"))
            assert answer.json()["worker"] == "app-1:8001"
        finally:  # the tests come in any order
            docker("start", cluster.full("app-2"))
            until(30, lambda: len(workers(client)) == 2)
