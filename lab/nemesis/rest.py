"""How the nemesis has all visitors rest, in another process: files in a folder that both know."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Rest:
    """`asked` while they shall rest; `looked` once the witnesses have been asked for all they know."""

    folder: Path

    def asked(self) -> bool:
        return (self.folder / "rest").exists()

    def looked(self) -> None:
        """Say that everybody rests and has been looked at."""
        (self.folder / "looked").touch()

    def ask(self) -> None:
        """From now on they shall rest."""
        (self.folder / "looked").unlink(missing_ok=True)
        (self.folder / "rest").touch()

    def end(self) -> None:
        (self.folder / "rest").unlink()

    def wait_looked(self, seconds: float) -> bool:
        """Whether the witnesses were looked at in time."""
        deadline = time.monotonic() + seconds
        while not (self.folder / "looked").exists():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True
