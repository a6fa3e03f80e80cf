"""Short runs of the load test, and the test doubles that they load."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DOUBLE = Path(__file__).with_name("double.py")
SHORT = ("--duration", "4", "--users", "8", "--rate", "20", "--workers", "4")
LONG_ENOUGH = (*SHORT, "--duration", "9")  # for both timeouts of the double to pass


@contextmanager
def double(fault: str) -> Iterator[str]:
    """The address of a test double that is broken in this way."""
    command = [sys.executable, str(DOUBLE), fault]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


@contextmanager
def held_port() -> Iterator[int]:
    """A port that is given to nobody else meanwhile, but on which Locust may listen.

    It is bound, not listened on: with SO_REUSEADDR, as servers have it, Linux then lets one of them listen.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
