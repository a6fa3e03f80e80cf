"""Commands and changes in the documents, so that tests can carry them out and compare what they print.

A block marked `sh` is typed as it stands.  A block marked `text` that follows it is what has been printed at
the end; `…` in it stands for anything.  A block marked `diff` changes the file that the line above it, or above
the diff before it, names; its line `-…` stands for all lines up to the next one that it shows.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.paths import ROOT

# Before the fence, the line that names the file in its first code span, and ends with a colon.
_BLOCK = re.compile(
    r"(?:^[^\n`]*`([\w.-]+/[\w./-]+)`[^\n]*:\n\n)?^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE
)
ANY = r"(?:.*\n)*?"  # lines that a diff does not show
MINUTES = 600.0


@dataclass(frozen=True)
class Block:
    """One block of a page: its mark, its text, the file named above it, and what it should print."""

    mark: str
    text: str
    file: str = ""
    printed: str | None = None


def blocks(page: str) -> list[Block]:
    """The blocks of a page in their order; a `text` block belongs to the `sh` block before it."""
    found: list[Block] = []
    for file, mark, text in _BLOCK.findall(page):
        if mark == "text" and found and found[-1].mark == "sh":
            found[-1] = Block("sh", found[-1].text, printed=text)
        else:
            again = found[-1].file if found and mark == found[-1].mark == "diff" else ""
            found.append(Block(mark, text, file or again))
    return found


def sections(page: str) -> dict[str, str]:
    """The text under each heading of the second level."""
    parts = re.split(r"^## (.+)\n", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def apply(block: Block, root: Path) -> None:
    """Write the block's file, or change the one place of it that a diff shows; ValueError when it is not there."""
    path = root / block.file
    if block.mark != "diff":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
        return
    lines = [(line[:1] or " ", line[1:]) for line in block.text.splitlines()]
    new = "".join(f"{text}\n" for sign, text in lines if sign in " +")
    old = "".join(
        ANY if text == "…" else re.escape(f"{text}\n") for sign, text in lines if sign in " -"
    )
    before = path.read_text()
    after, count = re.subn(rf"^{old}", lambda _: new, before, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"{block.file} has {count} places like\n{block.text}")
    path.write_text(after)


def type_in(text: str, folder: Path, environ: Mapping[str, str], root: Path = ROOT) -> str:
    """What a shell in `folder` prints when `text` is typed there; `make` means the one of `root`."""
    venv = "" if root == ROOT else f'VENV="{ROOT}/.venv"'  # a copy has none of its own
    make = f'make() {{ command make --no-print-directory -C "{root}" {venv} "$@"; }}\n'
    own = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"}
    given = {name: value for name, value in os.environ.items() if name not in own}
    done = subprocess.run(
        ["bash", "-c", make + text],
        cwd=folder,
        env={**given, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=MINUTES,
        check=False,
    )
    return done.stdout


def ends_with(printed: str, expected: str) -> bool:
    """Whether the last lines of `printed` are `expected`, where `…` stands for anything in a line."""
    if not expected:
        return True
    pattern = ".*".join(re.escape(part) for part in expected.rstrip("\n").split("…"))
    return re.search(rf"(?:\A|\n){pattern}\n*\Z", printed) is not None


def translator(ports: Mapping[int, int]) -> Callable[[str], str]:
    """Puts the ports of a test's own stack in the place of those that the documents name."""

    def translate(text: str) -> str:
        return re.sub(
            r"\b[89]\d\d\d\b", lambda match: str(ports.get(int(match[0]), match[0])), text
        )

    return translate


def ports_of(settings: Mapping[str, str], *workers: int) -> dict[int, int]:
    """The documents' ports beside those of a stack: http, https, and its workers in their order."""
    own = {8001 + number: port for number, port in enumerate(workers)}
    return {8080: int(settings["HTTP_PORT"]), 8443: int(settings["HTTPS_PORT"]), **own}
