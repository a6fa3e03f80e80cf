"""The files for those who develop on the repository: they run what everybody else runs."""

from __future__ import annotations

import re
import tomllib

import yaml

from deploy.paths import ROOT


def test_ci_runs_the_script() -> None:
    """The workflow checks nothing by itself: after preparing the machine it calls .ci/run."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]

    assert commands[-1] == ".ci/run"
    assert all(re.match(r"apt-get |git config ", command) for command in commands[:-1])


def test_pre_commit_runs_make_lint() -> None:
    """The hook is `make lint` itself, and nothing is downloaded from another repository."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    (repository,) = config["repos"]

    assert repository["repo"] == "local"
    assert [hook["entry"] for hook in repository["hooks"]] == ["make lint"]


def test_version_is_that_of_the_changelog() -> None:
    """The version in pyproject.toml is the newest that the changelog has."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## (\d\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert newest
    assert newest[1] == version
