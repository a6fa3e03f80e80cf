"""The stored history: nothing is lost on the way to disk, and it can be judged again from there."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadtest.check import offline
from loadtest.check.history import HistoryWriter, lifetimes_of, read_header, read_ops
from loadtest.check.op import Op
from tests.unit.loadtest.histories import LIMITS, overwrite_a_visit, simulate


def store(path: Path, ops: list[Op]) -> Path:
    """Write a history file."""
    with HistoryWriter(path / "history.jsonl", LIMITS, seed=7) as history:
        for op in ops:
            history.write(op)
    return path / "history.jsonl"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(st.integers(0, 999), max_size=30))
def test_round_trip(script: list[int], tmp_path: Path) -> None:
    """What is read back equals what was written, the limits of the run included."""
    ops, _ = simulate(script)
    path = store(tmp_path, ops)
    assert list(read_ops(path)) == ops
    assert lifetimes_of(read_header(path)) == LIMITS


def test_offline_checker_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m loadtest.check.offline` gives 0 for a correct history and says what it checked."""
    ops, _ = simulate([1, 2, 3])
    assert offline.main([str(store(tmp_path, ops))]) == 0
    assert "read your writes" in capsys.readouterr().out


def test_offline_checker_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It gives 10 for a lost update and prints the requests that prove it."""
    ops, tail = simulate([1, 2, 3])
    overwrite_a_visit(tail)
    assert offline.main([str(store(tmp_path, ops))]) == 10
    assert f"#{tail['second visit'].number} visit of a" in capsys.readouterr().out


def test_offline_checker_with_nothing(tmp_path: Path) -> None:
    """An empty history proves nothing."""
    assert offline.main([str(store(tmp_path, []))]) == 13


def test_other_file(tmp_path: Path) -> None:
    """A file that is no history is refused by name."""
    path = tmp_path / "something.json"
    path.write_text('{"hello": 1}\n')
    with pytest.raises(ValueError, match=r"something\.json is no load-test history"):
        read_header(path)
