"""The pods of deploy/kubernetes in Docker: what a kubelet does with a manifest, as far as these manifests need it.

Commands, users, groups, variables, read-only roots and mounts are those of the manifests.  There is no scheduler, no
Service, no probe and no NetworkPolicy: a cluster has those.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from deploy.paths import ROOT
from tests.compose.container import docker
from tests.compose.stack import until

HERE = ROOT / "deploy/kubernetes"
NAMESPACE = "round-robin"
Object = dict[str, Any]


def template(file: str, name: str) -> Object:
    """The pod's spec of a workload in a manifest."""
    for one in yaml.safe_load_all((HERE / file).read_text()):
        if "template" in one["spec"] and one["metadata"]["name"] == name:
            spec: Object = one["spec"]["template"]["spec"]
            return spec
    raise LookupError(name)


def settings(overlay: str) -> dict[str, str]:
    """The ConfigMap `settings` of an overlay."""
    text = yaml.safe_load((HERE / overlay / "kustomization.yaml").read_text())
    (found,) = [one for one in text["configMapGenerator"] if one["name"] == "settings"]
    return dict(literal.split("=", 1) for literal in found["literals"])


class ConfigMap:
    """A mounted ConfigMap: each file a link, and all of them changed in one moment, as a kubelet does it."""

    def __init__(self, folder: Path, files: dict[str, str]) -> None:
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        self.folder, self.files = folder, files
        self.change({})
        for name in files:
            (folder / name).symlink_to(f"..data/{name}")

    def change(self, files: dict[str, str]) -> None:
        """Some files anew."""
        self.files |= files
        version = self.folder / f"..{len(list(self.folder.glob('..20*'))):02d}".replace(
            "..", "..20"
        )
        version.mkdir()
        for name, text in self.files.items():
            (version / name).write_text(text)
        (self.folder / "..data_tmp").symlink_to(version.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")


@dataclass
class Cluster:
    """Pods on a network of their own; `images` by the names in the manifests, without tag or digest."""

    name: str
    folder: Path
    images: dict[str, str]
    settings: dict[str, str]
    configs: dict[str, ConfigMap]
    secrets: dict[str, str]
    names: list[str] = field(default_factory=list)

    def run(self, spec: Object, pod: str, alias: str) -> None:
        """Start the containers of one pod, sidecars first; the last has the pod's name."""
        volumes = {one["name"]: self._volume(one, spec, pod) for one in spec["volumes"]}
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            is_last = container is spec["containers"][-1]
            name = pod if is_last else f"{pod}-{container['name']}"
            self._start(container, spec, name, alias, volumes)
            if not is_last:
                self._wait(name, container["startupProbe"]["exec"]["command"])

    def _wait(self, name: str, probe: list[str]) -> None:
        """Until a sidecar has begun, as the kubelet waits before the next container."""
        until(20, lambda: docker("exec", self.full(name), *probe).returncode == 0)

    def address(self, pod: str) -> str:
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return docker("inspect", "--format", form, self.full(pod)).stdout.strip()

    def full(self, pod: str) -> str:
        return f"{self.name}-{pod}"

    def answers(self, pod: str, probe: Object, ports: list[Object]) -> bool:
        """Whether a probe of the manifest succeeds."""
        (port,) = [one["containerPort"] for one in ports if one["name"] == probe["httpGet"]["port"]]
        try:
            url = f"http://{self.address(pod)}:{port}{probe['httpGet']['path']}"
            return httpx.get(
                url, timeout=probe.get("timeoutSeconds", 1), trust_env=False
            ).is_success
        except httpx.HTTPError:
            return False

    def remove(self) -> None:
        docker("rm", "--force", *self.names)

    def _start(
        self, container: Object, spec: Object, name: str, alias: str, volumes: dict[str, Path]
    ) -> None:
        context = {**spec["securityContext"], **container["securityContext"]}
        words = ["--name", self.full(name), "--hostname", name, "--network", self.name]
        words += ["--network-alias", alias, "--read-only", "--cap-drop", "ALL"]
        words += ["--security-opt", "no-new-privileges", "--memory", _memory(container)]
        words += ["--user", f"{context['runAsUser']}:{context['runAsGroup']}"]
        words += ["--group-add", str(context["fsGroup"])]
        for name_, value in self._environ(container).items():
            words += ["--env", f"{name_}={value}"]
        for mount in container["volumeMounts"]:
            mode = "ro" if mount.get("readOnly") else "rw"
            words += ["--volume", f"{volumes[mount['name']]}:{mount['mountPath']}:{mode}"]
        image = self.images[re.split("[:@]", container["image"])[0]]
        first, *rest = container["command"]
        started = docker("run", "--detach", *words, "--entrypoint", first, image, *rest)
        assert started.returncode == 0, started.stderr
        self.names.append(self.full(name))

    def _environ(self, container: Object) -> dict[str, str]:
        found = dict(self.settings) if "envFrom" in container else {}
        for env in container.get("env", []):
            if "value" in env:
                value = env["value"].replace("$(NAMESPACE)", found.get("NAMESPACE", ""))
            elif "fieldRef" in env["valueFrom"]:
                value = NAMESPACE
            else:
                value = self.settings.get(env["valueFrom"]["configMapKeyRef"]["key"], "")
            found[env["name"]] = value
        return found

    def _volume(self, volume: Object, spec: Object, pod: str) -> Path:
        """A folder for a volume, with the owner and the mode that a kubelet gives it."""
        if "configMap" in volume:
            return self.configs[volume["configMap"]["name"]].folder
        folder = self.folder / pod / volume["name"]
        folder.mkdir(parents=True)
        group = spec["securityContext"]["fsGroup"]
        if "secret" in volume:
            for key in [i["key"] for i in volume["secret"].get("items", [])] or list(self.secrets):
                (folder / key).write_text(self.secrets[key])
                os.chown(folder / key, 0, group)
                (folder / key).chmod(volume["secret"]["defaultMode"])
        os.chown(folder, 0, group)
        folder.chmod(0o755 if "secret" in volume else 0o2777)
        return folder


def _memory(container: Object) -> str:
    text: str = container["resources"]["limits"]["memory"]
    return text.replace("Mi", "m").replace("Gi", "g")
