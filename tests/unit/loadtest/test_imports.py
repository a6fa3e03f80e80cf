"""What the load test may know: the stack through HTTP only, and its model nothing of Locust."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

LOADTEST = Path(__file__).parents[3] / "loadtest"
MODEL = ("operations", "tally", "rules", "counter", "model", "check_history", "history")


def imported(source: str) -> set[str]:
    """The packages that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return {name.partition(".")[0] for name in found}


def importers(paths: Iterable[Path], *packages: str) -> list[str]:
    """Which of these files import one of these packages."""
    return [path.name for path in paths if imported(path.read_text()) & set(packages)]


def test_stack_is_known_through_http_only() -> None:
    """No file of the load test imports the application, what deploys it, or the tests."""
    files = list(LOADTEST.rglob("*.py"))
    assert len(files) > 20
    assert importers(files, "app", "deploy", "tests") == []


def test_model_is_free_of_locust() -> None:
    """The model and the checkers run without Locust, gevent or Tornado."""
    files = [LOADTEST / f"{name}.py" for name in MODEL]
    assert importers(files, "locust", "gevent", "tornado") == []


@pytest.mark.parametrize(
    "line", ["import app.web", "from app.sessions import Session", "def f():\n    import app"]
)
def test_import_would_be_noticed(line: str, tmp_path: Path) -> None:
    """Each way to import the application is seen."""
    (tmp_path / "x.py").write_text(line)
    assert importers([tmp_path / "x.py"], "app") == ["x.py"]
