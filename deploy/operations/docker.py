"""The stack that `docker compose up` started from this folder; everything goes through the Compose CLI."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploy.ask import NoAnswer, ask
from deploy.digest import digest
from deploy.docker import docker, run_docker
from deploy.networks import in_url, reachable
from deploy.operations.elsewhere import FromHere
from deploy.operations.stack import NginxProcess
from deploy.paths import ROOT
from deploy.refused import Refused
from deploy.supervisor.health import figures_from

MOUNTED = "/etc/nginx/stack/"  # where docker-compose.yml puts nginx/
NGINX = ("nginx", "-p", "/tmp/", "-e", "stderr", "-c", f"{MOUNTED}nginx.conf")
LABEL = "com.docker.compose"
Labels = dict[str, str]  # of one container
LOG_LINES = "200"


class DockerStack:
    """`url` is where Docker publishes nginx on this machine."""

    def __init__(self, url: str, state: Path, role: str = "all") -> None:
        self.name = f"the stack of `docker compose up` at {url}"
        self.url = url
        self.role = role
        self.own: str | None = None if role == "edge" else ""
        self.upstream_conf = ROOT / "nginx/upstream.conf"
        self.state = state

    @cached_property
    def site_url(self) -> str:
        """Where /login is answered: here, or where http leads."""
        try:
            location = urlsplit(ask(self.url, "/login").headers.get("Location", ""))
        except NoAnswer:
            return self.url  # whoever needs an answer will find out that there is none
        return f"https://{location.netloc}" if location.scheme == "https" else self.url

    def places(self) -> list[AppContainer]:
        # By their numbers; the beginning of its id is a container's host name.
        found = {int(c["Name"].rpartition("-")[2]): c["ID"][:12] for c in _containers("app")}
        return [AppContainer(host, index) for index, host in sorted(found.items())]

    @contextmanager
    def settings(self) -> Iterator[list[str]]:
        """A container keeps what it was made with: what has changed since is only told."""
        labels = _labels()
        made_with = _made_with(labels)
        yield [*_outdated(labels, made_with), *self._replaced_secrets(made_with)]

    def _replaced_secrets(self, made_with: Sequence[str]) -> list[str]:
        """A file that was replaced, as editors do: the container goes on seeing the old one."""
        config = json.loads(_compose(*made_with, "config", "--format", "json").stdout)
        here = {name: digest(Path(secret["file"])) for name, secret in config["secrets"].items()}
        there: dict[str, str] = self._any_place().ask("secrets")
        names = ", ".join(name for name, found in there.items() if found != here.get(name))
        again = "`docker compose up --detach --force-recreate app` applies"
        return [f"not yet in effect: the new file of {names}, which {again}"] if names else []

    def reads_users(self, path: Path) -> bool:
        return bool(self._any_place().ask("secrets").get("users") == digest(path))

    def resolves(self, host: str) -> bool:
        return not _compose("exec", "-T", "nginx", "getent", "hosts", host, check=False).returncode

    def test_nginx(self) -> None:
        result = _compose("exec", "-T", "nginx", *NGINX, "-t", check=False)
        complaints = [line for line in result.stderr.splitlines() if "] " in line]
        if result.returncode or complaints:
            text = "\n".join("  " + line.split(": ", 1)[-1] for line in complaints)
            text = text or result.stderr.strip()
            raise Refused(f"nginx refuses its configuration\n{text.replace(MOUNTED, 'nginx/')}")

    def reload_nginx(self) -> None:
        _compose("exec", "-T", "nginx", *NGINX, "-s", "reload")

    def nginx_processes(self) -> list[NginxProcess]:
        (container,) = _containers("nginx")
        return nginx_processes(docker("top", container["ID"], "-eo", "pid,etimes,args"))

    def nginx_log(self) -> str:
        return _compose("logs", "--no-log-prefix", "--tail", LOG_LINES, "nginx").stdout

    def openssl(self) -> dict[str, str]:
        nginx = _compose("exec", "-T", "nginx", "nginx", "-V", check=False).stderr
        return {"nginx": nginx, **self._python_openssl()}

    def _python_openssl(self) -> dict[str, str]:
        """None where this host has no workers."""
        places = self.places()
        return {"Python": str(places[0].ask("openssl"))} if places else {}

    def answers(self, host: str, port: int) -> bool:
        ask = ("--output", "/dev/null", "--write-out", "%{num_connects}", f"http://{host}:{port}/")
        return self._curl(*ask) == "1"

    def figures(self, host: str, port: int) -> dict[str, Any]:
        status = self._curl("--write-out", "\n%{http_code}", f"http://{host}:{port}/readyz")
        text, _, code = status.rpartition("\n")
        metrics = self._curl(f"http://{host}:{port}/metrics")
        return figures_from(int(code or 0), text, metrics)

    def _curl(self, *words: str) -> str:
        """What curl prints where nginx runs."""
        patience = ("--silent", "--connect-timeout", "1", "--max-time", "2")
        command = ("exec", "-T", "nginx", "curl", *patience, *words)
        return _compose(*command, check=False).stdout.strip()

    def begin_session(self) -> dict[str, str]:
        return dict(self._any_place().ask("begin-session"))

    def store(self, *, count: bool = True) -> dict[str, Any]:
        if self.role == "edge":
            return {}
        return dict(self._any_place().ask("store" if count else "store-uncounted"))

    def _any_place(self) -> AppContainer:
        places = self.places()
        if not places:
            raise Refused("no app container is running: `docker compose up --detach` starts it")
        return places[0]


class DockerWorkers(FromHere, DockerStack):
    """Workers alone, published on `own` (deploy/workers.yml); what nginx would be asked, this machine is."""

    def __init__(self, own: str, state: Path) -> None:
        super().__init__("", state, "workers")
        self.name = f"the workers of `docker compose up` on {own}"
        self.own = own

    @cached_property
    def site_url(self) -> str:
        return ""

    def test_nginx(self) -> None:
        """There is none."""

    def nginx_processes(self) -> list[NginxProcess]:
        return []

    def openssl(self) -> dict[str, str]:
        return self._python_openssl()


@dataclass(frozen=True)
class AppContainer:
    """One container of the service `app`; deploy/supervisor/inside.py answers in it."""

    host: str
    index: int

    def ports(self) -> list[int]:
        return list(self.ask("ports"))

    def taken(self, ports: Sequence[int]) -> list[int]:
        return list(self.ask("taken", *map(str, ports)))

    def start(self, ports: Sequence[int]) -> None:
        self.ask("start", *map(str, ports))

    def stop(self, ports: Sequence[int]) -> None:
        self.ask("stop", *map(str, ports))

    def restart(self, port: int) -> None:
        self.ask("restart", str(port))

    def move_streams(self) -> None:
        self.ask("move-streams")

    def figures(self) -> list[dict[str, Any]]:
        return list(self.ask("figures"))

    def keep(self, text: str) -> None:
        self.ask("keep", text)

    def applied(self) -> str | None:
        text: str | None = self.ask("applied")
        return text

    def ask(self, action: str, *argv: str) -> Any:
        """The answer of the container; Refused repeats its refusal."""
        command = ("python", "-m", "deploy", "inside", action, "--", *argv)
        result = _compose("exec", "-T", "--index", str(self.index), "app", *command)
        answer = json.loads(result.stdout)
        if "error" in answer:
            raise Refused(f"app-{self.index}: {answer['error']}")
        return answer["value"]


def find_docker(state: Path, role: str = "all", own: str | None = "") -> DockerStack | None:
    """The Compose project of this folder, or None when what this host has by its role is not running."""
    if shutil.which("docker") is None:
        return None
    service = "app" if role == "workers" else "nginx"
    if _compose("ps", "--quiet", service, check=False).stdout.strip() == "":
        return None
    if role == "workers":
        return DockerWorkers(own or "", state)
    address = _compose("port", "nginx", "8080").stdout.strip()
    return DockerStack(published_url(address), state, role)


def published_url(address: str) -> str:
    """Where this machine reaches what Compose says is published at `address`; every address is loopback, too."""
    host, _, port = address.rpartition(":")
    return f"http://{in_url(reachable(host.strip('[]')))}:{port}"


def _outdated(containers: Sequence[Labels], made_with: Sequence[str]) -> list[str]:
    """Which services would be made differently now."""
    listed = _compose(*made_with, "config", "--hash", "*").stdout
    now = dict(line.split() for line in listed.splitlines())
    found = {labels[f"{LABEL}.service"]: labels[f"{LABEL}.config-hash"] for labels in containers}
    names = ", ".join(sorted(name for name, made in found.items() if now.get(name) != made))
    applies = "`docker compose up --detach` applies"
    return [f"not yet in effect: new settings of {names}, which {applies}"] if names else []


def _made_with(containers: Sequence[Labels]) -> list[str]:
    """The options of Compose with which the containers were made, beside what it finds by itself."""
    labels = next(iter(containers), {})
    files = labels.get(f"{LABEL}.project.config_files", "").split(",")
    settings = labels.get(f"{LABEL}.project.environment_file", "").split(",")
    options = [("--file", name) for name in files if name]
    options += [("--env-file", name) for name in settings if name]
    return [word for option in options for word in option]


def _labels() -> list[Labels]:
    """The labels of this project's containers."""
    ids = _compose("ps", "--quiet").stdout.split()
    if not ids:
        return []
    return [found["Config"]["Labels"] for found in json.loads(docker("inspect", *ids))]


def nginx_processes(listing: str) -> list[NginxProcess]:
    """nginx's worker processes in what `docker top -eo pid,etimes,args` prints."""
    found = []
    for line in listing.splitlines()[1:]:
        pid, age, title = line.split(maxsplit=2)
        if title.startswith("nginx: worker process"):
            found.append(NginxProcess(int(pid), float(age), "shutting down" in title))
    return found


def _containers(service: str) -> list[dict[str, Any]]:
    return listed(_compose("ps", "--format", "json", service).stdout)


def listed(output: str) -> list[dict[str, Any]]:
    """The containers that `docker compose ps --format json` prints: a line each, before Compose 2.21 one list."""
    found = [json.loads(line) for line in output.splitlines() if line.startswith(("{", "["))]
    return found[0] if found and isinstance(found[0], list) else found


def _compose(*argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return run_docker("compose", "--project-directory", str(ROOT), *argv, check=check)
