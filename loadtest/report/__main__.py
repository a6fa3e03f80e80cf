"""`python -m loadtest.report FOLDER`: draw the report of a finished run, once more or for the first time."""

import sys
from pathlib import Path

from loadtest.progress import never_silent
from loadtest.report.facts import Facts, gather
from loadtest.report.page import write_report
from loadtest.verdict.analysis import analyse


def main(arguments: list[str]) -> int:
    """Returns 2 when there is nothing to draw."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    try:
        with never_silent("drawing the report"):
            page = write_report(_facts(folder), folder)
        print(page)
    except (OSError, TypeError, ValueError, KeyError) as error:
        print(f"no report of a finished run in {folder}: {error}", file=sys.stderr)
        return 2
    return 0


def _facts(folder: Path) -> Facts:
    """Those of the report that is there, or else of the stored history."""
    if (folder / "report.json").exists():
        return Facts.read(folder / "report.json")
    analysis, ops = analyse(folder)
    return gather(analysis, ops, {})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
