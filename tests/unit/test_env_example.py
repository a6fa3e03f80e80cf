""".env.example, the manual of the settings, against the files that read them."""

from __future__ import annotations

import re

from deploy.native.applied import NEEDS_A_START
from deploy.paths import ROOT

MANUAL = (ROOT / ".env.example").read_text()
COMPOSE = "".join(
    (ROOT / name).read_text() for name in ("docker-compose.yml", "deploy/workers.yml")
)
READERS = (
    "app/settings.py",
    "deploy/native/options.py",
    "deploy/https.py",
    "deploy/networks.py",
    "deploy/nginx_secret.py",
    "deploy/watch/prometheus.py",
    "deploy/swarm/docker.py",
)
NAME = r"[A-Z][A-Z0-9_]+"
OF_PYTHON = {"PYTHONMALLOC"}  # read by the interpreter
# Of the load test (loadtest/README.md) and of the offline build, which writes them itself; ENV_FILE names the file.
ELSEWHERE = {"HOST", "WORKERS", "BUILD_NETWORK", "BUILD_PIP_CONF", "BUILD_CA", "ENV_FILE"}


def documented() -> set[str]:
    """The settings that the manual describes."""
    return set(re.findall(rf"^#({NAME})=", MANUAL, re.MULTILINE))


def read() -> set[str]:
    """The settings that the stack reads, natively or in Docker."""
    code = {
        name for path in READERS for name in re.findall(rf'"({NAME})"', (ROOT / path).read_text())
    }
    load = set(re.findall(rf'"({NAME})"', (ROOT / "loadtest/settings.py").read_text()))
    compose = set(re.findall(rf"\$\{{({NAME})", COMPOSE))
    compose |= set(re.findall(rf"^      ({NAME}):", COMPOSE, re.MULTILINE)) - load
    return code | compose


def test_every_setting_is_documented() -> None:
    """Each setting that the stack reads is in the manual."""
    assert read() - documented() - ELSEWHERE == set()


def test_every_documented_setting_is_read() -> None:
    """The manual describes no setting that nobody reads."""
    secrets = {f"{name}_FILE" for name in documented()}
    assert documented() - read() - secrets - OF_PYTHON == set()


def test_when_it_takes_effect() -> None:
    """What `make rolling-restart` cannot apply is marked so, and nothing else is; nor what only Docker has."""
    marked, mark = set(), False
    for line in MANUAL.partition("--- Only in Docker")[0].splitlines():
        if match := re.match(rf"#({NAME})=", line):
            marked |= {match[1]} if mark else set()
        else:
            mark = line.endswith("[start]")

    assert marked == NEEDS_A_START


def test_each_has_its_sentences() -> None:
    """Above each setting, or the group that it belongs to, stands what it does."""
    lines = MANUAL.splitlines()
    for number, line in enumerate(lines):
        if re.match(rf"#{NAME}=", line):
            above = next(text for text in lines[number::-1] if not re.match(rf"#{NAME}=", text))
            assert re.match(r"# \S", above), line
