"""The import rule of docs/architecture.md: which room may know which, and no circle anywhere."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOUSES = ("app", "deploy", "loadtest", "lab", "tests")
# What a house may import of the others.  A longer name narrows: deploy knows nothing of app but its accounts and its audit.
MAY_KNOW = {
    "app": (),
    "deploy": ("app.accounts", "app.audit"),
    "loadtest": (),
    "lab": ("loadtest", "deploy", "app"),
    "tests": ("app", "deploy", "loadtest", "lab"),
}
# Only what breaks workers, or measures the session engine by itself, knows the application.
LAB_OF_APP = ("lab.mutants.workers", "lab.cost")
# Rooms of one house, from the top floor down: a room may import those after it.
FLOORS = {
    "app": (
        "app.dev", "app.__main__", "app.end_sessions", "app.drain", "app.web", "app.handlers", "app.events", "app.metrics",
        "app.throttle", "app.audit", "app.cookie", "app.settings", "app.accounts", "app.sessions",
    ),
    "loadtest": (
        "loadtest.__main__", "loadtest.report", "loadtest.locustfile", "loadtest.scenarios", "loadtest.load",
        "loadtest.verdict", "loadtest.plan", "loadtest.settings", "loadtest.check",
    ),
}  # fmt: skip
Graph = dict[str, set[str]]


def graph_of(root: Path) -> Graph:
    """Every module of ours below `root`, with the modules of ours that it imports, anywhere in it."""
    files = {name: path for house in HOUSES for name, path in _modules(root / house, root)}
    return {name: set(_imports(name, path, files)) for name, path in files.items()}


def _modules(house: Path, root: Path) -> Iterator[tuple[str, Path]]:
    for path in house.rglob("*.py"):
        yield ".".join(path.relative_to(root).with_suffix("").parts), path


def _imports(name: str, path: Path, known: Iterable[str]) -> Iterator[str]:
    package = name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            wanted = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for one in wanted:
            parent = one.rpartition(".")[0]
            found = next(
                (n for n in (one, parent, f"{one}.__init__", f"{parent}.__init__") if n in known),
                None,
            )
            if found and found != name:
                yield found
            elif not found and one.split(".")[0] in HOUSES:
                yield one  # a package of ours without that module


def strangers(graph: Graph) -> list[str]:
    """Imports from one house into another that the rule does not allow."""
    found = []
    for name, imports in graph.items():
        house = name.split(".")[0]
        for other in imports:
            if other.split(".")[0] == house or within(other, MAY_KNOW[house]):
                continue
            found.append(f"{name} imports {other}")
        if house == "lab" and not within(name, LAB_OF_APP):
            found += [f"{name} imports {other}" for other in imports if within(other, ("app",))]
    return sorted(found)


def climbers(graph: Graph, floors: tuple[str, ...]) -> list[str]:
    """Imports from a lower floor to a higher one."""

    def floor(name: str) -> int | None:
        return next((n for n, room in enumerate(floors) if within(name, (room,))), None)

    return sorted(
        f"{name} imports {other}"
        for name, imports in graph.items()
        for other in imports
        if (mine := floor(name)) is not None
        and (theirs := floor(other)) is not None
        and theirs < mine
    )


def within(name: str, rooms: Iterable[str]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


GRAPH = graph_of(ROOT)


def test_whole_house_is_seen() -> None:
    """The rule is held against every module; a walk that saw only a few would prove nothing."""
    assert {name.split(".")[0] for name in GRAPH} == set(HOUSES)
    assert len(GRAPH) > 200


def test_no_stranger() -> None:
    """app and loadtest import nothing of the others, deploy only app.accounts, lab whatever it measures."""
    assert strangers(GRAPH) == []


def test_no_circle() -> None:
    """No module imports itself through others."""
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("house", FLOORS)
def test_nothing_upward(house: str) -> None:
    """Inside app and loadtest, rooms know only those below them."""
    assert climbers(GRAPH, FLOORS[house]) == []


def test_sessions_can_be_copied_alone() -> None:
    """The session engine imports nothing of ours outside itself."""
    inside = {name: imports for name, imports in GRAPH.items() if within(name, ["app.sessions"])}
    outside = [
        other
        for imports in inside.values()
        for other in imports
        if not within(other, ["app.sessions"])
    ]
    assert len(inside) > 8
    assert outside == []


def test_checkers_are_free_of_locust() -> None:
    """The checkers run without Locust, gevent or Tornado."""
    text = [path.read_text() for path in (ROOT / "loadtest/check").glob("*.py")]
    assert len(text) > 6
    assert [
        word
        for word in ("locust", "gevent", "tornado")
        for t in text
        if f"import {word}" in t or f"from {word}" in t
    ] == []


def test_broken_rule_is_noticed(tmp_path: Path) -> None:
    """Each way to break the rule turns its check red: a stranger, an upward import, and a circle."""
    for name, text in {
        "app/web.py": "from app.handlers import base",
        "app/handlers/base.py": "def f():\n    import app.web",
        "app/sessions/store.py": "from ..throttle import x",
        "app/throttle.py": "",
        "loadtest/check/op.py": "import deploy.paths",
        "deploy/paths.py": "from app.settings import Settings",
        "app/settings.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    graph = graph_of(tmp_path)
    assert strangers(graph) == [
        "deploy.paths imports app.settings",
        "loadtest.check.op imports deploy.paths",
    ]
    assert climbers(graph, FLOORS["app"]) == [
        "app.handlers.base imports app.web",
        "app.sessions.store imports app.throttle",
    ]
    with pytest.raises(CycleError):
        TopologicalSorter(graph).prepare()
