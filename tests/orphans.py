"""Processes that outlived their parent: what a test that cleans up carelessly leaves on a machine."""

from __future__ import annotations

from pathlib import Path

INIT = 1  # who inherits them


def orphans(folder: Path) -> set[tuple[int, str]]:
    """Process id and name of each orphan that was started in `folder`."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (process / "stat").read_text().rpartition(")")
            if int(rest.split()[1]) == INIT and (process / "cwd").readlink() == folder:
                found.add((int(process.name), name.partition("(")[2]))
        except OSError:
            continue  # it ended just now, or is another user's
    return found
