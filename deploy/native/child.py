"""Running a command that ends by itself when told to, and says what it found so far."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from types import FrameType

from deploy.refused import Refused


def run_child(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """COMMAND's exit code, as a shell reports it; Refused when there is no such command.

    The first Ctrl-C or SIGTERM is passed on, and COMMAND is waited for; a second one kills it.
    """
    try:
        # In a session of its own, so that a terminal's Ctrl-C reaches it once, through here.
        child = subprocess.Popen(command, env=dict(environ), start_new_session=True)
    except FileNotFoundError:
        raise Refused(f"there is no command {command[0]}") from None
    asked = 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        child.send_signal(number if asked == 1 else signal.SIGKILL)

    stops = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stop) for number in stops]
    try:
        code = child.wait()
    finally:
        for number, handler in zip(stops, before, strict=True):
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code  # ended by a signal
