"""When a log of the native stack begins anew, and what is kept of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.native.rotate import DAY_SECONDS, KEPT, MOST_BYTES, THEMSELVES, rotate_logs

MORNING = 1_000_000.0


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of a stack that was started in the morning."""
    path = tmp_path / "access.log"
    path.write_text("a line\n")
    rotate_logs(tmp_path, MORNING)
    return path


def older(log: Path) -> list[str]:
    return sorted(path.name for path in log.parent.glob("access.log.*"))


def test_once_a_day(log: Path) -> None:
    """After a day a log begins anew, however often the stack was started; an empty one does not."""
    for hour in range(1, 24):
        rotate_logs(log.parent, MORNING + hour * 3600)
    assert older(log) == []

    rotate_logs(log.parent, MORNING + DAY_SECONDS)
    rotate_logs(log.parent, MORNING + DAY_SECONDS + 1)
    rotate_logs(log.parent, MORNING + 2 * DAY_SECONDS)
    assert older(log) == ["access.log.1"]
    assert (log.read_text(), Path(f"{log}.1").read_text()) == ("", "a line\n")


def test_when_full(log: Path) -> None:
    """A full log begins anew at once, and a nearly full one does not."""
    with open(log, "ab") as file:
        file.truncate(MOST_BYTES - 1)
    rotate_logs(log.parent, MORNING)
    assert older(log) == []

    with open(log, "ab") as file:
        file.write(b"x")
    rotate_logs(log.parent, MORNING)
    assert older(log) == ["access.log.1"]
    assert Path(f"{log}.1").stat().st_size == MOST_BYTES


def test_kept(log: Path) -> None:
    """Older files are kept in their order, up to so many."""
    for day in range(1, KEPT + 3):
        log.write_text(f"day {day}")
        rotate_logs(log.parent, MORNING + day * DAY_SECONDS)

    kept = [Path(f"{log}.{number + 1}").read_text() for number in range(KEPT)]
    assert kept == [f"day {day}" for day in range(KEPT + 2, 2, -1)]
    assert len(older(log)) == KEPT


def test_those_that_rotate_themselves(log: Path) -> None:
    """What another process rotates is left to it."""
    for name in THEMSELVES:
        (log.parent / name).write_text("x")
    rotate_logs(log.parent, MORNING + DAY_SECONDS)

    assert all((log.parent / name).read_text() == "x" for name in THEMSELVES)
