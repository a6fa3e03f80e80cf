"""Instructions a request, counted by valgrind: the one figure that a busy machine does not change.

What the kernel does for the worker is not in it.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.paths import ROOT
from lab.cost.generator import CONNECTIONS, Failed
from lab.testbed.workers import clean_environment

NAMES = ("bare", "cookie", "read", "guarded save", "blind save")
VISITORS = 64
WARM_ROUNDS, ROUNDS = 4, 15  # each asks once on every connection


def count(url: str, folder: Path) -> dict[str, int]:
    """Instructions a request by handler.  Raises Failed without valgrind."""
    if not (valgrind := shutil.which("valgrind")):
        raise Failed("INSTRUCTIONS=1 needs valgrind (Debian's package of that name)")
    counted = folder / "counted"
    command = [
        *(valgrind, "-q", "--tool=callgrind", "--instr-atstart=no"),
        f"--callgrind-out-file={counted}",
        *(sys.executable, "-m", "lab.cost.site", url, str(VISITORS)),
    ]
    # The same hashes each time, so that dicts and sets cost the same each time.
    environment = clean_environment(PYTHONHASHSEED="0")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=environment, cwd=ROOT, text=True
    ) as site:
        try:
            assert site.stdout is not None
            said = json.loads(site.stdout.readline())
            for name in NAMES:
                _ask(said["ports"][name], said["cookies"], WARM_ROUNDS)
                _control(site.pid, "-i", "on")
                _ask(said["ports"][name], said["cookies"], ROUNDS)
                _control(site.pid, "-i", "off")
                _control(site.pid, "-d", name)  # writes what was counted, and begins anew
        finally:
            site.kill()
    requests = ROUNDS * CONNECTIONS
    return {
        name: _total(Path(f"{counted}.{number}")) // requests
        for number, name in enumerate(NAMES, start=1)
    }


def _ask(port: int, cookies: Sequence[str], rounds: int) -> None:
    """On each connection one request a round, sent before the first answer is read."""
    requests = [f"GET / HTTP/1.1\r\nHost: a\r\nCookie: {one}\r\n\r\n".encode() for one in cookies]
    connections = [
        socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(CONNECTIONS)
    ]
    for number in range(rounds):
        for at, connection in enumerate(connections):
            connection.sendall(requests[(number * CONNECTIONS + at) % len(requests)])
        for connection in connections:
            _take_answer(connection)
    for connection in connections:
        connection.close()


def _take_answer(connection: socket.socket) -> None:
    answer = b""
    while (head := answer.find(b"\r\n\r\n")) < 0 or len(answer) < head + 4 + _length(answer):
        part = connection.recv(1 << 16)
        if not part:
            raise Failed(f"the connection was closed after {answer!r}")
        answer += part
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise Failed(f"not 200: {answer!r}")


def _length(answer: bytes) -> int:
    found = re.search(rb"Content-Length: (\d+)", answer)
    return int(found[1]) if found else 0


def _control(pid: int, *words: str) -> None:
    subprocess.run(["callgrind_control", *words, str(pid)], check=True, capture_output=True)


def _total(file: Path) -> int:
    found = re.search(r"^totals: (\d+)", file.read_text(), re.MULTILINE)
    if found is None:
        raise Failed(f"valgrind wrote no total into {file.name}")
    return int(found[1])
