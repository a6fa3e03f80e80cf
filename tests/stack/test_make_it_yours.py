"""docs/make-it-yours.md: each recipe is carried out on a copy of the project, and does what the page says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.free_port import free_ports
from deploy.native.scratch import end_run, scratch_settings, start_run, wait_for_start
from deploy.paths import ROOT
from tests.copies import copy_to
from tests.documents import apply, blocks, ends_with, ports_of, sections, translator, type_in

pytestmark = pytest.mark.native

PAGE = (ROOT / "docs/make-it-yours.md").read_text()
RECIPES = sections(PAGE)
LOG_IN = blocks(PAGE.split("\n## ", 1)[0])[0]
OTHER_SERVICE = {9000: free_ports(1)[0]}
# The unit tests on routes, settings, the cookie, accounts and documents; those of the demo page go with it.
CONCERNED = ("accounts", "architecture", "cookie", "env_example", "imports", "settings")
CHANGES = {title: [b for b in blocks(text) if b.file] for title, text in RECIPES.items()}


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with all recipes applied to it, one after the other."""
    copy = copy_to(tmp_path_factory.mktemp("yours") / "project")
    for changes in CHANGES.values():
        for change in changes:
            own = translator(OTHER_SERVICE)(change.text)
            apply(replace(change, text=own), copy)
    return copy


@pytest.fixture(scope="module")
def stack(changed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The settings of that copy's running stack."""
    folder = tmp_path_factory.mktemp("stack")
    settings = scratch_settings(folder, changed / "nginx/upstream.conf")
    process = start_run({**os.environ, **settings}, changed)
    try:
        wait_for_start(process)
        yield settings
    finally:
        end_run(process)


@pytest.mark.parametrize("title", RECIPES)
def test_recipe(title: str, changed: Path, stack: dict[str, str]) -> None:
    """The commands of the recipe print what the page says."""
    translate = translator(ports_of(stack) | OTHER_SERVICE)
    commands = [LOG_IN, *(block for block in blocks(RECIPES[title]) if block.mark == "sh")]
    for block in commands:
        typed = translate(block.text).replace(".venv/bin/python", sys.executable)
        printed = type_in(typed, changed, stack, changed)
        expected = translate(block.printed or "")
        assert ends_with(printed, expected), f"{block.text}printed\n{printed}\nexpected\n{expected}"

    assert len(commands) > 1


@pytest.mark.parametrize("title", RECIPES)
def test_recipe_alone(title: str, tmp_path: Path) -> None:
    """Each recipe can be carried out without the others: its changes fit the files as they are."""
    files = {change.file for change in CHANGES[title] if change.mark == "diff"}
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    for change in CHANGES[title]:
        apply(change, tmp_path)

    assert CHANGES[title]


@pytest.mark.long
def test_own_tests_still_pass(changed: Path) -> None:
    """After all recipes the copy is well formed and typed, and passes its tests on routes, names and documents."""
    python = [sys.executable, "-m"]
    quiet = {"cwd": changed, "capture_output": True, "text": True}
    for command in (
        ["ruff", "format", "app"],
        ["ruff", "check", "--fix", "app"],  # as `make format` does: imports in their order
        ["mypy", "app"],
        ["pytest", "-q", "-p", "no:xdist", *(f"tests/unit/test_{name}.py" for name in CONCERNED)],
    ):
        done = subprocess.run([*python, *command], check=False, **quiet)
        assert done.returncode == 0, done.stdout + done.stderr
