"""One address for both edges: keepalived on each of them, with deploy/keepalived.conf as an operator fills it in."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.paths import ROOT
from deploy.refused import Refused
from deploy.supervisor.daemon import end_with_parent
from lab.hosts.machine import Machine
from lab.hosts.topology import HTTP_PORT, Hosts

TEMPLATE = ROOT / "deploy/keepalived.conf"
PROGRAM = "keepalived"
LAST = 100  # of the address in the hosts' network


class SharedAddress:
    """`url` is the site under the address that moves."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self.address = str(hosts.network.network.network_address + LAST)
        self.url = f"http://{self.address}:{HTTP_PORT}"
        self._running: list[subprocess.Popen[bytes]] = []

    def holders(self) -> list[str]:
        """The edges that have it now; for a moment there may be none, and across a partition two."""
        return [edge.name for edge in self._hosts.edges if self._is_held_by(edge)]

    def start(self) -> None:
        for number, edge in enumerate(self._hosts.edges):
            folder = self._hosts.folder / "keepalived" / edge.name
            folder.mkdir(parents=True)
            file = folder / "keepalived.conf"
            file.write_text(filled(TEMPLATE.read_text(), self.address, 100 - 10 * number))
            self._running.append(_run(edge, file))

    def stop(self) -> None:
        for process in self._running:
            process.terminate()
            process.wait()

    def _is_held_by(self, edge: Machine) -> bool:
        command = edge.host.command("ip", "-4", "-oneline", "addr", "show")
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return f" {self.address}/" in shown


def filled(text: str, address: str, priority: int) -> str:
    """The template with what differs between hosts and networks."""
    return text.replace("192.0.2.10/", f"{address}/").replace(
        "priority 100", f"priority {priority}"
    )


@contextmanager
def shared_address(hosts: Hosts) -> Iterator[SharedAddress]:
    """It is there while the block runs; Refused without keepalived."""
    if shutil.which(PROGRAM) is None:
        raise Refused("a shared address needs keepalived (Debian: keepalived)")
    shared = SharedAddress(hosts)
    try:
        shared.start()
        yield shared
    finally:
        shared.stop()


def _run(edge: Machine, file: Path) -> subprocess.Popen[bytes]:
    """In the foreground, with what it would write to /run in a folder of its own."""
    pids = {"-p": "keepalived", "-r": "vrrp", "-c": "checkers"}
    places = [word for option, name in pids.items() for word in (option, f"{file.parent}/{name}")]
    command = edge.host.command(PROGRAM, "--dont-fork", "--log-console", "-f", str(file), *places)
    with file.with_suffix(".log").open("wb") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, preexec_fn=end_with_parent
        )
