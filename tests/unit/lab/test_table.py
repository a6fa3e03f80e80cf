"""How results are printed, and how they get into docs/measurements.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.measurements import DOCUMENT, write_block
from lab.table import as_markdown, as_text

HEADER = ("compared", "ratio")
ROWS = [("read / bare", "0.90"), ("read", "10.20")]


def test_text() -> None:
    """On a terminal columns stand under each other, figures to the right where that is asked."""
    assert as_text(HEADER, ROWS).splitlines()[1:] == ["read / bare  0.90", "read         10.20"]
    assert as_text(HEADER, ROWS, right=True).splitlines()[1] == "read / bare   0.90"


def test_markdown() -> None:
    """In Markdown each row has every cell, below a line that makes it a table."""
    assert as_markdown(HEADER, ROWS).splitlines()[1:3] == [
        "| --- | --- |",
        "| read / bare | 0.90 |",
    ]


def test_the_block_is_replaced(tmp_path: Path) -> None:
    """Only what stands between the markers changes, however often it is written."""
    file = tmp_path / "measurements.md"
    file.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    for block in ("first", "second"):
        write_block("bench", block, file)
    assert file.read_text() == "before\n<!-- bench -->\nsecond\n<!-- /bench -->\nafter\n"


@pytest.mark.parametrize("text", ["text\n", "<!-- bench -->\n<!-- /bench -->\n" * 2])
def test_no_place_for_the_block(tmp_path: Path, text: str) -> None:
    """A document without the place, or with two, is refused and left as it is."""
    file = tmp_path / "measurements.md"
    file.write_text(text)
    with pytest.raises(ValueError, match="places called bench"):
        write_block("bench", "figures", file)
    assert file.read_text() == text


@pytest.mark.parametrize(
    "name",
    [
        "bench",
        "bench-peers",
        "compare",
        "longconn",
        "proof-operations",
        "proof-operations-docker",
        "proof-failover",
    ],
)
def test_document_has_a_place_for_each_command(name: str) -> None:
    """Each measuring command finds its block in docs/measurements.md."""
    assert DOCUMENT.read_text().count(f"<!-- {name} -->\n") == 1
    assert DOCUMENT.read_text().count(f"<!-- /{name} -->") == 1
