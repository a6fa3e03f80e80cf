"""Names of folders that nginx cannot take are refused in one line; others reach supervisord as they are."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Iterator
from configparser import RawConfigParser
from pathlib import Path

import pytest

import deploy.native.run
import deploy.native.stop
import deploy.operations.status  # noqa: F401
from deploy.__main__ import main
from deploy.native.nginx import check_name
from deploy.refused import Refused
from deploy.supervisor import programs
from deploy.supervisor.daemon import NOTHING
from deploy.supervisor.programs import Program

NOBODY = 65534


@pytest.mark.parametrize("character", ["$", '"', "\\", "*", "?", "[", "\n", "\udcff"])
def test_refused(character: str) -> None:
    """The message is one line and names the character."""
    with pytest.raises(Refused) as refused:
        check_name("this folder", Path(f"/home/ann/a{character}b"))
    said = str(refused.value)
    assert "\n" not in said
    assert (character if character.isprintable() else f"U+{ord(character):04X}") in said


def test_refused_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A start in a folder whose name is not UTF-8 says so in one line, and leaves nothing behind."""
    monkeypatch.setenv("ENV_FILE", "")
    folder = tmp_path / os.fsdecode(b"lat\xe9in")
    monkeypatch.setenv("STACK_DIR", str(folder))

    assert main(["run"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "has the character U+DCE9 in its name" in said
    assert not folder.exists()


@pytest.mark.parametrize("name", ["a b", "%2F", "#2", ";b", "a'b", "{c}", "ü", "]", "& |!"])
def test_taken(name: str) -> None:
    """All others are taken."""
    check_name("this folder", Path("/home/ann") / name)


@pytest.mark.parametrize(
    "name", ["p%2Fx", "p #2", "p ;b", "p%(here)s #a ;b", "p ", "p\u00a0", "p\u3000#"]
)
def test_supervisord_reads_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What supervisord makes of the program's file is the name again: of the checkout, the program and its log."""
    folder = Path("/home/ann") / name
    monkeypatch.setattr(programs, "ROOT", folder)
    program = Program("web", [f"{folder}/python"], 1, 1, folder / "web.log")
    parser = RawConfigParser(inline_comment_prefixes=(";", "#"))
    parser.read_string(program.section())
    section = parser["program:web"]
    known = {f"ENV_{NOTHING}": ""}

    log = f"{folder}/web.log"
    assert section["directory"] % known == str(folder)
    assert shlex.split(section["command"] % known)[3:] == [log, log, f"{folder}/python"]


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that this process cannot open; root becomes somebody else for it."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0)
    user = os.geteuid()
    os.seteuid(user or NOBODY)
    yield folder
    os.seteuid(user)


@pytest.mark.parametrize("command", ["stop", "status", "run"])
def test_folder_of_another_user(
    closed: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands say in one line that the folder is another user's."""
    monkeypatch.setenv("ENV_FILE", "")
    monkeypatch.setenv("STACK", "native")
    monkeypatch.setenv("STACK_DIR", str(closed / "state"))

    assert main([command]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is another user's: " in said


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 300])
@pytest.mark.parametrize("command", ["run", "status"])
def test_folder_that_cannot_be_made(
    name: str,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A STACK_DIR that is a file, or has too long a name, is refused in one line."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("ENV_FILE", "")
    monkeypatch.setenv("STACK", "native")
    monkeypatch.setenv("STACK_DIR", str(tmp_path / name))

    assert main([command]) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") <= 1, said.err
    assert said.err.startswith("error: ") or "no stack" in said.out + said.err


def test_disk_that_is_read_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkout or STACK_DIR on a read-only disk is said in one line, with what names another folder."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "/srv/stack/.stack")

    monkeypatch.setenv("ENV_FILE", "")
    monkeypatch.setattr(Path, "mkdir", refuse)

    assert main(["run"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(
        "error: /srv/stack/.stack: Read-only file system; STACK_DIR names another folder"
    )
