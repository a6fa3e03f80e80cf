"""README.md and CONTRIBUTING.md: every command in them is typed, here or by another test, and prints what they say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.free_port import free_ports
from deploy.paths import ROOT
from lab.mutants.catalogue import MUTANTS
from tests.conftest import StartStack
from tests.documents import Block, apply, blocks, ends_with, ports_of, translator, type_in
from tests.stack.visitor import new_visitor

pytestmark = pytest.mark.native

README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
BLOCKS = [block for block in blocks(README) if block.mark in ("sh", "diff")]
FOLDERS = (".", "docs", "loadtest", "app/sessions", "lab/*", "deploy/*")
PAGES = [page for folder in FOLDERS for page in ROOT.glob(f"{folder}/*.md")]
MOST_WORDS = 1500
LIGHT_LOAD = {
    "DURATION": "8",
    "USERS": "4",
    "RATE": "10",
}  # the machine may be busy with other tests
TRIED = (ROOT / ".ci/run").read_text() + "".join(
    path.read_text() for path in (ROOT / "tests/compose").glob("*.py")
)


def test_length() -> None:
    """It can be read in one sitting."""
    assert len(README.split()) <= MOST_WORDS


@pytest.mark.long
def test_commands(start_stack: StartStack, tmp_path: Path) -> None:
    """Typed in their order beside a new stack, the commands print what the README says they print."""
    stack = start_stack()
    translate = translator(ports_of(stack.settings, *stack.worker_ports, *free_ports(1)))
    typed = 0
    for block in BLOCKS:
        if block.mark == "diff":
            upstream = Path(stack.settings["UPSTREAM_CONF"])
            apply(Block("diff", translate(block.text), upstream.name), upstream.parent)
            continue
        if block.text.startswith("docker "):
            continue  # test_docker_commands
        if block.text == "make run\n":
            printed = stack.said
        else:
            environ = {**stack.settings, **LIGHT_LOAD, "OUT": str(tmp_path)}
            printed = type_in(translate(block.text), tmp_path, environ)
        # A busy machine may miss a limit of latency; whether sessions were right does not depend on it.
        printed = re.sub(r"^FAIL \(exit code 12, .*?\)", "PASS", printed, flags=re.MULTILINE)
        printed = re.sub(r"^make: \*\*\* .* Error 12$", "", printed, flags=re.MULTILINE)
        printed = in_order(printed, stack.worker_ports)
        expected = translate(block.printed or "").replace(".stack/logs", "…")
        expected = in_order(expected, stack.worker_ports)
        assert ends_with(printed, expected), f"{block.text}printed\n{printed}\nexpected\n{expected}"
        typed += 1

    assert typed >= 4


def in_order(text: str, ports: Sequence[int]) -> str:
    """`text` with the workers' ports numbered as they appear: which worker comes first does not matter."""
    found = list(dict.fromkeys(re.findall("|".join(map(str, ports)), text)))
    return re.sub("|".join(found or ["$^"]), lambda match: f"<{found.index(match[0])}>", text)


def test_docker_commands() -> None:
    """Each `docker` command is run by .ci/run or a test in tests/compose."""
    commands = [
        line for block in BLOCKS for line in re.split(r"\n|&& ", block.text) if "docker" in line
    ]
    for words in commands:
        found = re.search(r"docker (?:compose )?([a-z]+)", words)
        assert found, words
        assert re.search(rf"docker (compose )?{found[1]}\b|\"{found[1]}\"", TRIED), words

    assert len(commands) > 3


def test_first_test() -> None:
    """The way to the first passing test in CONTRIBUTING.md ends with a passing test."""
    (block,) = [block for block in blocks(CONTRIBUTING) if block.mark == "sh"]
    printed = type_in(block.text, ROOT, {})

    assert ends_with(printed, block.printed or ""), printed


def test_single_commands() -> None:
    """The tests and the mutant that CONTRIBUTING.md runs by name exist."""
    named = re.findall(r"pytest (tests/\S+\.py)(?: -k (\w+))?`", CONTRIBUTING)
    (mutant,) = re.findall(r'lab mutants "(.+)"`', CONTRIBUTING)

    assert len(named) == 2
    for path, test in named:
        assert f"def {test}(" in (ROOT / path).read_text() if test else (ROOT / path).exists()
    assert mutant in {known.name for known in MUTANTS}


def test_files_to_touch() -> None:
    """Each file that CONTRIBUTING.md and the README name is there."""
    for page in (CONTRIBUTING, README):
        for name in re.findall(r"`((?:app|deploy|docs|lab|loadtest|nginx|tests)/[\w./-]+)`", page):
            assert "NAME" in name or (ROOT / name).exists(), name


def test_targets() -> None:
    """Each `make` command that a document names is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE))
        assert named <= targets, page.name


def test_page(start_stack: StartStack) -> None:
    """The page that the README says to open leads to the login, and has the buttons it names."""
    with new_visitor(start_stack().url) as visitor:
        visitor.log_in()
        page = visitor.get("/").text

    for button in ("Send 20 requests", "Slow request"):
        assert f"*{button}*" in README
        assert f">{button}</button>" in page


def test_links() -> None:
    """Every link in a document leads to a file that exists, and to a heading of it."""
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
            name, _, heading = target.partition("#")
            path = (page.parent / name) if name else page
            assert path.exists(), f"{page.name}: {target}"
            titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE) if heading else []
            anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert not heading or heading in anchors, f"{page.name}: {target}"
