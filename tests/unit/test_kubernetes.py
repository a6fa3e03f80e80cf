"""deploy/kubernetes against the files that it repeats facts from.  `deploy/kubernetes/check` validates the schemas."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import SECRET_NAMES
from deploy.paths import ROOT
from deploy.times import DEFAULT_TIMES
from deploy.upstream.read import read_upstream

HERE = ROOT / "deploy/kubernetes"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OVERLAYS = ("demo", "production")
CACHED_SECONDS = 30  # by CoreDNS, with the settings of kubeadm
DRAIN_SECONDS = 10  # by default, as .env.example says
Object = dict[str, Any]


def objects(folder: str) -> list[Object]:
    """Everything in a folder's manifests, kustomizations left out."""
    paths = sorted((HERE / folder).glob("*.yaml"))
    found = [one for path in paths for one in yaml.safe_load_all(path.read_text())]
    return [one for one in found if one.get("kind") not in ("Kustomization", "Component")]


ALL = [one for path in sorted(HERE.iterdir()) if path.is_dir() for one in objects(path.name)]
WORKLOADS = ("Deployment", "StatefulSet", "Job")


def workload(name: str, folder: str = "base") -> Object:
    """The pod template's spec of a workload."""
    (found,) = [
        one
        for one in objects(folder)
        if one["kind"] in WORKLOADS and one["metadata"]["name"] == name
    ]
    spec: Object = found["spec"]["template"]["spec"]
    return spec


def containers(spec: Object) -> dict[str, Object]:
    return {one["name"]: one for one in [*spec.get("initContainers", []), *spec["containers"]]}


APP, NGINX = workload("app"), workload("nginx")
REDIS, LOADTEST = workload("redis", "demo"), workload("loadtest", "loadtest")
PODS = {"app": APP, "nginx": NGINX, "redis": REDIS, "loadtest": LOADTEST}
EVERY = [one for spec in PODS.values() for one in containers(spec).values()]


def settings(overlay: str) -> dict[str, str]:
    """The literals of an overlay's ConfigMap `settings`."""
    text = yaml.safe_load((HERE / overlay / "kustomization.yaml").read_text())
    (found,) = [one for one in text["configMapGenerator"] if one["name"] == "settings"]
    return dict(literal.split("=", 1) for literal in found["literals"])


def known_settings() -> set[str]:
    return set(re.findall(r"^#([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))


@pytest.mark.parametrize("overlay", [*OVERLAYS, "ingress"])
def test_settings_exist(overlay: str) -> None:
    """Each setting of an overlay is one of .env.example: a misspelt one would silently do nothing."""
    assert set(settings(overlay)) - known_settings() == set()


def test_variables_are_read() -> None:
    """Each variable of a container is a setting, or the code that runs there names it."""
    code = {
        "app": "",
        "files": (ROOT / "deploy/nginx_files.py").read_text(),
        "nginx": (ROOT / "nginx/start").read_text(),
        "redis": str(COMPOSE["redis"]["entrypoint"]),
        "loadtest": (ROOT / "loadtest/settings.py").read_text(),
    }
    given = {(c["name"], env["name"]) for c in EVERY for env in c.get("env", [])}
    given |= {("files", name) for name in ("TLS_CERT", "TLS_KEY")}
    passed_on = {"NAMESPACE"}  # in another variable's value
    known = known_settings() | passed_on
    unread = {(c, n) for c, n in given if n not in known and not re.search(rf"\b{n}\b", code[c])}
    assert unread == set()


def test_probes_ask_what_is_there() -> None:
    """Workers are asked on their routes, nginx on paths that it answers by itself or for all workers."""
    routes = re.findall(r'\(r"(/[a-z]*)",', (ROOT / "app/web.py").read_text())
    paths = {kind: probe["httpGet"]["path"] for kind, probe in _probes(containers(APP)["app"])}
    assert set(paths.values()) <= set(routes)
    assert (paths["livenessProbe"], paths["readinessProbe"]) == ("/livez", "/readyz")

    site = (ROOT / "nginx/site.conf").read_text()
    for _, probe in _probes(containers(NGINX)["nginx"]):
        path = probe["httpGet"]["path"]
        static = ROOT / "app" / path.removeprefix("/")
        assert f"location = {path} {{" in site or static.is_file()


def _probes(container: Object) -> Iterator[tuple[str, Object]]:
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        yield kind, container[kind]


def test_ports_agree() -> None:
    """Workers listen where nginx asks them; the site's Service and the load test's way lead to nginx's ports."""
    (server,) = read_upstream(HERE / "base/upstream.conf").servers
    app = containers(APP)["app"]
    assert app["command"][-1] == str(server.port)
    assert [port["containerPort"] for port in app["ports"]] == [server.port]
    assert _service("app")["ports"][0]["port"] == server.port
    assert _service("app")["clusterIP"] == "None"

    listened = set(re.findall(r"listen (\d+)", (ROOT / "nginx/site.conf").read_text()))
    ports = {port["name"]: port["containerPort"] for port in containers(NGINX)["nginx"]["ports"]}
    assert set(map(str, ports.values())) == listened
    targets = {port["targetPort"] for port in _service("nginx")["ports"]}
    assert targets == set(ports)
    assert _egress("nginx") == {server.port}
    assert _egress("loadtest") == {ports["http"]}


def _service(name: str) -> Object:
    (found,) = [
        o for o in objects("base") if (o["kind"], o["metadata"]["name"]) == ("Service", name)
    ]
    spec: Object = found["spec"]
    return spec


def _egress(name: str) -> set[int]:
    (found,) = [o for o in ALL if o["kind"] == "NetworkPolicy" and o["metadata"]["name"] == name]
    return {port["port"] for rule in found["spec"]["egress"] for port in rule["ports"]}


def test_upstream_is_the_same_but_for_its_servers() -> None:
    """The Kubernetes upstream has the directives of nginx/upstream.conf, and the parameters of its servers."""
    own, other = (
        read_upstream(p) for p in (HERE / "base/upstream.conf", ROOT / "nginx/upstream.conf")
    )
    assert {**own.directives, "server": ()} == {**other.directives, "server": ()}
    assert own.servers[0].parameters == other.servers[0].parameters


def test_every_file_of_nginx_is_in_a_configmap() -> None:
    """nginx/kustomization.yaml names every file that nginx reads; a new one must not be missing in the cluster."""
    text = yaml.safe_load((ROOT / "nginx/kustomization.yaml").read_text())
    named = {name for one in text["configMapGenerator"] for name in one["files"]}
    files = {str(p.relative_to(ROOT / "nginx")) for p in (ROOT / "nginx").rglob("*") if p.is_file()}
    assert named == files - {"kustomization.yaml"}


def test_nobody_is_pinned() -> None:
    """No Service has sessionAffinity and the Ingress no sticky cookie; it leads to nginx, which believes it alone."""
    assert "sessionAffinity" not in {key for one in ALL for key in one.get("spec", {})}
    (ingress,) = objects("ingress")
    assert "annotations" not in ingress["metadata"]
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    service = path["backend"]["service"]
    assert service["port"]["name"] in {port["name"] for port in _service(service["name"])["ports"]}
    assert settings("ingress")["ALLOWED_HOSTS"] == rule["host"]
    assert "TRUSTED_PROXIES" in settings("ingress")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_secret_in_a_configmap(overlay: str) -> None:
    """Secrets come from the Secret `stack`, as files; no ConfigMap and no variable holds one."""
    assert not {name for name in settings(overlay) if _is_secret(name)}
    given = {env["name"] for c in EVERY for env in c.get("env", []) if "value" in env}
    assert not {name for name in given if _is_secret(name)}
    kinds = {one["kind"] for one in ALL}
    assert not kinds & {"Secret", "ConfigMap"}


def _is_secret(name: str) -> bool:
    return name in SECRET_NAMES or (name.endswith(("SECRET", "SECRETS", "PASSWORD", "KEY")))


def test_grace_of_a_worker_nests() -> None:
    """A worker answers until no nginx knows its address, then drains, and is not killed before that has ended."""
    app = containers(APP)["app"]
    still_answers = app["lifecycle"]["preStop"]["sleep"]["seconds"]
    (valid,) = re.findall(r"resolver \S+ valid=(\d+)s", (ROOT / "nginx/nginx.conf").read_text())
    assert still_answers > CACHED_SECONDS + int(valid)
    assert still_answers + DRAIN_SECONDS < APP["terminationGracePeriodSeconds"]


def test_grace_of_nginx_nests() -> None:
    """nginx answers while nodes take it out of the Service, and then as long as a page or an old process may take."""
    (leaves,) = re.findall(
        r"worker_shutdown_timeout (\d+)s", (ROOT / "nginx/nginx.conf").read_text()
    )
    before = containers(NGINX)["nginx"]["lifecycle"]["preStop"]["sleep"]["seconds"]
    longest = max(int(leaves), DEFAULT_TIMES.page_seconds)
    assert before + longest < NGINX["terminationGracePeriodSeconds"]


def test_liveness_is_the_watchdog() -> None:
    """A worker that hangs is replaced after as long as WATCHDOG_SECONDS, not sooner: a page may block so long."""
    probe = containers(APP)["app"]["livenessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == DEFAULT_TIMES.watchdog_seconds


@pytest.mark.parametrize("name", ["nginx", "redis"])
def test_images_agree_with_compose(name: str) -> None:
    """nginx and Redis are the same releases."""
    (default,) = re.findall(r":-([^}]+)}", COMPOSE[name]["image"])
    assert containers(PODS[name])[name]["image"] == default


def test_own_images_have_the_version() -> None:
    """The overlays name the images of this version: a tag says what runs."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    found = {
        image["name"]: str(image["newTag"])
        for overlay in (*OVERLAYS, "loadtest")
        for image in yaml.safe_load((HERE / overlay / "kustomization.yaml").read_text())["images"]
    }
    assert found == dict.fromkeys(
        ("tornado-round-robin-app", "tornado-round-robin-loadtest"), version
    )
    for service in ("app", "loadtest"):
        (default,) = re.findall(r":-([^}]+)}", COMPOSE[service]["image"])
        assert containers(PODS[service])[service]["image"] == default


def test_memory_agrees_with_compose() -> None:
    """A pod may use what Compose gives: a worker its share of the app container, the others the same."""
    workers = len(read_upstream(ROOT / "nginx/upstream.conf").workers)
    limits = {c["name"]: _mebibytes(c["resources"]["limits"]["memory"]) for c in EVERY}
    limits["app"] *= workers
    limits["https"] = limits.pop("files")
    # A cluster has a Prometheus of its own.
    served = {name: one for name, one in COMPOSE.items() if one.get("profiles") != ["watch"]}
    assert limits == {name: _mebibytes(service["mem_limit"]) for name, service in served.items()}


def _mebibytes(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([a-zA-Z]+)", text).groups()  # type: ignore[union-attr]
    return int(number) * {"m": 1, "Mi": 1, "g": 1024, "Gi": 1024}[unit]


@pytest.mark.parametrize("container", EVERY, ids=lambda one: str(one["name"]))
def test_containers_are_restricted(container: Object) -> None:
    """Each container keeps to the restricted Pod Security Standard, and has a root filesystem that it cannot write."""
    context = container["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("name", PODS)
def test_pods_are_restricted(name: str) -> None:
    """No pod runs as root, without seccomp, or with a token of the cluster's API."""
    context = PODS[name]["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert PODS[name]["automountServiceAccountToken"] is False


def test_only_named_ways_are_open() -> None:
    """Everything is refused but: nginx from anywhere, workers from nginx and from Prometheus, Redis from workers."""
    allowed = {}
    for one in ALL:
        if one["kind"] == "NetworkPolicy":
            target = one["spec"]["podSelector"].get("matchLabels", {}).get("app", "all")
            for rule in one["spec"].get("ingress", []):
                allowed.setdefault(target, []).extend(rule.get("from", ["anywhere"]))
    prometheus = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}
    }
    from_nginx = {"podSelector": {"matchLabels": {"app": "nginx"}}}
    assert allowed.pop("app") == [from_nginx, prometheus]
    assert allowed.pop("redis") == [{"podSelector": {"matchLabels": {"app": "app"}}}]
    assert allowed.pop("nginx") == ["anywhere"]
    assert allowed == {}
    (nothing,) = [o for o in ALL if o["metadata"]["name"] == "nothing"]
    assert nothing["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_secret_of_the_demo_has_every_key() -> None:
    """What `deploy/kubernetes/secrets` prints has each key that a pod of the demo reads, new at each run."""
    first, second = (yaml.safe_load(_output(HERE / "secrets")) for _ in range(2))
    mounted = {
        env["value"].removeprefix("/run/secrets/stack/")
        for c in EVERY
        for env in c.get("env", [])
        if env.get("value", "").startswith("/run/secrets/stack/")
    }
    assert set(first["stringData"]) == mounted | {"redis-password"}
    assert not set(first["stringData"].values()) & set(second["stringData"].values())
    assert f":{first['stringData']['redis-password']}@" in first["stringData"]["redis-url"]


def _output(command: Path) -> str:
    return subprocess.run([command], capture_output=True, text=True, check=True).stdout


def test_alerts_are_those_of_everywhere() -> None:
    """Prometheus in a cluster has the same rules, and finds workers under the job and the label that they name."""
    (rules,) = [one for one in ALL if one["kind"] == "PrometheusRule"]
    assert rules["spec"] == yaml.safe_load((ROOT / "deploy/watch/rules.yml").read_text())
    (monitor,) = [one for one in ALL if one["kind"] == "ServiceMonitor"]
    (service,) = [
        one for one in ALL if one["kind"] == "Service" and one["metadata"]["name"] == "app"
    ]
    assert (
        monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    )
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert {"targetLabel": "job", "replacement": "workers"} in endpoint["relabelings"]
    assert "worker" in {one["targetLabel"] for one in endpoint["relabelings"]}
