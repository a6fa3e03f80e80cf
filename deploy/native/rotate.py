"""The logs of a native stack begin anew at 10 MB and once a day; of each, seven older files are kept."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

THEMSELVES = ("security.log", "supervisord.log")  # rotated by who writes them
MOST_BYTES = 10 << 20
DAY_SECONDS = 86400
KEPT = 7
MARK = "rotated"  # its time is when the day began that ends with the next daily rotation


def rotate_logs(folder: Path, now: float) -> None:
    """Rotate each log in `folder` that is full, and once a day each that holds anything."""
    with suppress(FileNotFoundError):  # somebody is deleting the folder
        least = 1 if _day_is_over(folder / MARK, now) else MOST_BYTES
        for path in folder.glob("*.log"):
            if path.name not in THEMSELVES and path.stat().st_size >= least:
                _rotate(path)


def _rotate(path: Path) -> None:
    """PATH becomes PATH.1, that PATH.2, and so on; the oldest is gone.

    Whoever writes has the file open, and goes on at its new end.  What is written between the copy and
    the cut is lost: a line at most.
    """
    for number in range(KEPT, 1, -1):
        older = Path(f"{path}.{number - 1}")
        if older.exists():
            older.replace(f"{path}.{number}")
    shutil.copyfile(path, f"{path}.1")
    os.truncate(path, 0)


def _day_is_over(mark: Path, now: float) -> bool:
    """A day does not begin anew with each start of the stack, which may be more than once a day."""
    over = mark.exists() and now - mark.stat().st_mtime >= DAY_SECONDS
    if over or not mark.exists():
        mark.touch()
        os.utime(mark, (now, now))
    return over
