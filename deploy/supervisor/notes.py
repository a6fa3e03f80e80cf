"""What is noted in files beside a supervisord: starts and hangs of each program, and who deals with its failure."""

from __future__ import annotations

from pathlib import Path

from deploy.lock import holder


def attended(folder: Path, name: str) -> Path:
    """The lock somebody holds while starting `name` who will deal with its failure."""
    return folder / "attended" / name


def is_attended(folder: Path, name: str) -> bool:
    """Whether somebody is: `make reload` refuses such a worker, and the others go on."""
    return holder(attended(folder, name)) is not None


def count_start(folder: Path, name: str) -> None:
    """One byte a start: supervisord itself does not count them.  The worker shows the count, too (app/watched.py)."""
    _count(folder / "starts" / name)


def count_hang(folder: Path, name: str) -> None:
    """The same for each time that the watchdog has replaced a worker."""
    _count(folder / "hangs" / name)


def _count(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    with open(path, "ab") as file:
        file.write(b".")


def starts(folder: Path, name: str) -> int:
    """How often `name` has been started since supervisord was."""
    path = folder / "starts" / name
    return path.stat().st_size if path.exists() else 0


def forget_starts(folder: Path, name: str) -> None:
    """Count from nought: another program of that name is about to be started."""
    (folder / "starts" / name).unlink(missing_ok=True)
