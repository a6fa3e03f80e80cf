"""Instructions a request, counted by valgrind: the one figure that a busy machine does not change.

What the kernel does for the worker is not in it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from http.client import HTTPConnection
from itertools import cycle
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
        *(sys.executable, "-m", "lab.cost.site", url, str(VISITORS), "0"),
    ]
    # The same hashes each time, so that dicts and sets cost the same each time.
    environment = clean_environment(PYTHONHASHSEED="0")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=environment, cwd=ROOT, text=True
    ) as site:
        try:
            assert site.stdout is not None
            told = json.loads(site.stdout.readline())
            for name in NAMES:
                _ask(told["ports"][name], told["cookies"], WARM_ROUNDS)
                _control(site.pid, "-i", "on")
                _ask(told["ports"][name], told["cookies"], ROUNDS)
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
    turns = cycle(cookies)
    connections = [HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(CONNECTIONS)]
    for _ in range(rounds):
        for connection in connections:
            connection.request("GET", "/", headers={"Cookie": next(turns)})
        for connection in connections:
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise Failed(f"not 200 but {answer.status}")
    for connection in connections:
        connection.close()


def _control(pid: int, *arguments: str) -> None:
    subprocess.run(["callgrind_control", *arguments, str(pid)], check=True, capture_output=True)


def _total(file: Path) -> int:
    found = re.search(r"^totals: (\d+)", file.read_text(), re.MULTILINE)
    if found is None:
        raise Failed(f"valgrind wrote no total into {file.name}")
    return int(found[1])
