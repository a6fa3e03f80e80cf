"""A copy of the project that a test may change."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from deploy.paths import ROOT


def copy_to(folder: Path) -> Path:
    """A copy of what belongs to the repository, as it stands now."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in names:
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder
