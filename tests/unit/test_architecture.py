"""docs/architecture.md against the code: routes, the import rule, the folders, and the times it names."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from app import drain
from deploy.paths import ROOT
from tests.unit.test_imports import FLOORS, LAB_OF_APP, MAY_KNOW

PAGE = (ROOT / "docs/architecture.md").read_text()
# Those of this project: a page of your own need not be in the table.
MODULES = {"alerts", "api", "devices", "events", "health", "login", "main", "slow"}
METHODS = ("get", "post", "put", "delete")
OF_NGINX = {("GET", "/healthz"), ("GET", "/static/…")}
PLACEHOLDERS = {"([^/]+)": "<key>", "([0-9a-f]{16})": "<ref>"}


def section(title: str) -> str:
    """The text under one heading."""
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def routes() -> set[tuple[str, str]]:
    """Each method and path that the project's own handlers answer, from the list in app/web.py."""
    found = set()
    for path, module, name in re.findall(
        r'\(r"(/[^"]*)", (\w+)\.(\w+)', (ROOT / "app/web.py").read_text()
    ):
        if module not in MODULES:
            continue
        handler = getattr(importlib.import_module(f"app.handlers.{module}"), name)
        for pattern, placeholder in PLACEHOLDERS.items():
            path = path.replace(pattern, placeholder)
        own = [m for m in METHODS if "_unimplemented" not in getattr(handler, m).__name__]
        found |= {(method.upper(), path) for method in own}
    return found


def test_routes() -> None:
    """The table of the HTTP contract names every method of every route, and no other."""
    table = section("The HTTP contract")
    named = set(re.findall(r"^\| `([A-Z]+) (/\S*)` \|", table, re.MULTILINE))

    assert len(routes()) > 20
    assert named == routes()
    assert {pair for pair in OF_NGINX if f"`{pair[0]} {pair[1]}`" in table} == OF_NGINX


def test_import_rule() -> None:
    """The table and the lists of the import rule are those that tests/unit/test_imports.py holds."""
    text = section("The import rule")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.MULTILINE))
    lab, also = rows.pop("lab").split("; ")
    known = {house: set(re.findall(r"`([\w.]+)`", row)) for house, row in rows.items()}
    floors = {
        house: tuple(f"{house}.{room}" for room in re.findall(r"`(\w+)`", names))
        for house, names in re.findall(r"^- (\w+): ((?:.|\n  )+)", text, re.MULTILINE)
    }

    assert known == {house: set(MAY_KNOW[house]) for house in known}
    assert set(re.findall(r"`(\w+)`", lab)) | {"app"} == set(MAY_KNOW["lab"])
    assert re.findall(r"`(lab\S+)`", also) == list(LAB_OF_APP)
    assert floors == FLOORS


def test_folders_exist() -> None:
    """Each file and folder that the page names is there."""
    place = Path()
    folders = section("Folders").split("```")[1]
    for line in folders.strip("\n").splitlines():
        inside = re.match(r"( *)(\S+?/|[^/\s]+\.\w+)", line)
        assert inside, line
        depth = len(inside[1]) // 2
        place = Path(*place.parts[:depth]) / inside[2]
        assert (ROOT / place).exists(), place
        if not inside[2].endswith("/"):
            place = place.parent
    for name in re.findall(r"`((?:app|deploy|loadtest|lab|nginx|tests)/[\w./-]+)`", PAGE):
        assert (ROOT / name).exists(), name


def test_times_of_a_drain() -> None:
    """The seconds that the page gives are those of the code and of the files that nest around it."""
    text = section("The order of a drain")
    compose = (ROOT / "docker-compose.yml").read_text()

    assert f"for {drain.AT_LEAST_SECONDS:g} to {drain.KEPT_OPEN_SECONDS:g} s" in text
    assert "keepalive_timeout 2s;" in (ROOT / "nginx/upstream.conf").read_text()
    assert "`stop_grace_period` of the\ncontainer, 30 s" in text
    assert re.search(r"^    stop_grace_period: 30s", compose, re.MULTILINE)
