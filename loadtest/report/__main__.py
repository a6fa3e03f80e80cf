"""`python -m loadtest.report FOLDER`: draw the report of a finished run once more, from its report.json."""

import sys
from pathlib import Path

from loadtest.report.facts import Facts
from loadtest.report.page import write_report


def main(arguments: list[str]) -> int:
    """Returns 2 when there is nothing to draw."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    try:
        facts = Facts.read(folder / "report.json")
    except (OSError, TypeError, ValueError) as error:
        print(f"no report of a finished run in {folder}: {error}", file=sys.stderr)
        return 2
    print(write_report(facts, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
