"""Several hosts on one machine: wires that can be cut, and what is left of them. Where this process is not root: why not."""

from __future__ import annotations

import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import httpx
import pytest

from deploy.refused import Refused
from lab.hosts.network import Host, Network, remove_left, why_not
from lab.hosts.shared_address import PROGRAM, SharedAddress, shared_address
from lab.hosts.topology import Hosts, several_hosts
from lab.testbed.servers import wait_until

pytestmark = pytest.mark.long  # each lost packet is waited for
PORT = 8001
ASK = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.3)"
FORGET = "import os, sys; from lab.hosts.network import Network; Network(['edge-1']).__enter__(); os._exit(0)"


@pytest.fixture(scope="module")
def network() -> Iterator[Network | None]:
    """Two hosts, each with a server; None where none can be made, which is said in one line."""
    if reason := why_not():
        with pytest.raises(Refused, match=reason), Network(["one"]):
            pass
        yield None
        return
    servers: list[subprocess.Popen[bytes]] = []
    with Network(["one", "other"]) as made:
        for host in made.hosts.values():
            servers.append(
                subprocess.Popen(
                    host.command(sys.executable, "-m", "http.server", str(PORT)),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            wait_until(lambda host=host: _reaches(None, host), seconds=10, what=host.name)  # type: ignore[misc]
        yield made
    for server in servers:  # they have ended with their hosts
        assert server.wait(5) == -signal.SIGKILL


def _reaches(sender: Host | None, receiver: Host) -> bool:
    """Whether `sender`, or this process, gets a connection to the server of `receiver`."""
    words = (sys.executable, "-c", ASK, receiver.address, str(PORT))
    command = sender.command(*words) if sender else list(words)
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_wires(network: Network | None) -> None:
    """A host that is cut off is reached by nobody; two that are parted are still reached by others; all is mended."""
    if network is None:
        return
    one, other = network.hosts.values()
    network.cut(other)
    assert not _reaches(None, other)
    assert not _reaches(one, other)
    network.heal()
    wait_until(lambda: _reaches(one, other), seconds=5, what="a wire that is whole again")
    network.partition([one], [other])
    assert not _reaches(one, other)
    assert not _reaches(other, one)
    assert _reaches(None, other)
    network.heal()
    wait_until(lambda: _reaches(one, other), seconds=5, what="a wire that is whole again")


def test_one_way(network: Network | None) -> None:
    """In one direction nothing arrives; in the other what is sent does."""
    if network is None:
        return
    one, other = network.hosts.values()
    network.one_way([one], [other])
    assert _packets_of(one, other) == 0
    assert _packets_of(other, one) == 1
    network.heal()
    assert _packets_of(one, other) == 1


def _packets_of(sender: Host, receiver: Host) -> int:
    """How many datagrams out of one arrive."""
    listen = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 9)); s.settimeout(1); print(flush=True); print(len(s.recv(9)))"
    send = f"import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('{receiver.address}', 9))"
    with subprocess.Popen(
        receiver.command(sys.executable, "-c", listen),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as waiting:
        assert waiting.stdout is not None
        waiting.stdout.readline()
        subprocess.run(sender.command(sys.executable, "-c", send), check=True)
        return len(waiting.stdout.readlines())


def test_left(network: Network | None) -> None:
    """What a killed process has left is removed by the next, and nothing of a process that lives."""
    if network is None:
        return
    subprocess.run([sys.executable, "-c", FORGET], check=True)
    removed = remove_left()
    assert len(removed) == 2, removed  # the host and the bridge
    assert all(_reaches(None, host) for host in network.hosts.values())


@pytest.fixture(scope="module")
def hosts(network: Network | None) -> Iterator[Hosts | None]:
    """All eight, where they can be made."""
    if network is None:
        yield None
        return
    with several_hosts(SESSION_WRITES_ACKNOWLEDGED_BY="1") as made:
        yield made


def test_eight_hosts(hosts: Hosts | None) -> None:
    """Two edges, three hosts with two workers each and a store with Sentinels are one site, and each calls it healthy."""
    if hosts is None:
        return
    with _logged_in(hosts) as browser:
        for url in hosts.urls:
            wait_until(partial(_all_six, browser, url), seconds=10, what="answers of all six")
    for place in (*hosts.edges, *hosts.workers):
        code, said = place.operate("status")
        assert code == 0, said


def test_a_worker_answers_edges_alone(hosts: Hosts | None) -> None:
    """Whoever asks a worker's port past the edges gets 403, and its probes all the same."""
    if hosts is None:
        return
    url = f"http://{hosts.workers[0].address}:8001"
    assert httpx.get(f"{url}/login", trust_env=False).status_code == 403
    assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 200


def test_lost_hosts(hosts: Hosts | None) -> None:
    """A host of workers without power and the master cut off from everybody: the session goes on at both edges."""
    if hosts is None:
        return
    master = hosts.master()
    with _logged_in(hosts) as browser:
        hosts.workers[0].lose_power()
        hosts.cut(master)
        wait_until(lambda: _counted(hosts, browser) == [200, 200], seconds=30, what="a new master")
        assert hosts.master() is not master
        hosts.heal()
        hosts.workers[0].start()
        user = browser.get(f"{hosts.urls[0]}/api/session").json()["user"]
    assert user == "ann"


def test_shared_address(hosts: Hosts | None) -> None:
    """The edges' address moves from one that is cut off, or has no nginx, to the other, and comes back."""
    if hosts is None or shutil.which(PROGRAM) is None:
        return
    first, second = hosts.edges
    with shared_address(hosts) as shared:
        serves = partial(_serves, shared)
        wait_until(lambda: serves(first.name), seconds=20, what="the first edge under the address")
        hosts.cut(first)
        wait_until(lambda: serves(second.name), seconds=20, what="the second instead of the first")
        hosts.heal()
        wait_until(lambda: serves(first.name), seconds=20, what="the first again")
        first.stop()
        wait_until(
            lambda: serves(second.name), seconds=20, what="the second without the first's nginx"
        )
        first.start()
        wait_until(lambda: serves(first.name), seconds=20, what="the first at last")


def _serves(shared: SharedAddress, edge: str) -> bool:
    """Whether visitors are served under the address, and this edge has it."""
    try:
        answered = httpx.get(f"{shared.url}/login", trust_env=False, timeout=0.5).status_code
    except httpx.TransportError:
        return False
    return answered == 200 and edge in shared.holders()


@contextmanager
def _logged_in(hosts: Hosts) -> Iterator[httpx.Client]:
    """One browser for both edges, as if they had one name."""
    with httpx.Client(trust_env=False, timeout=10) as browser:
        form = {"username": "ann", "password": "demo"}
        assert browser.post(f"{hosts.urls[0]}/login", data=form).status_code == 302
        browser.headers["Cookie"] = f"sid={browser.cookies['sid']}"
        yield browser


def _all_six(browser: httpx.Client, url: str) -> bool:
    """Whether six requests through this edge are answered by six workers; each knows the session."""
    answers = [browser.get(f"{url}/api/session").json() for _ in range(6)]
    assert {answer["user"] for answer in answers} == {"ann"}
    return len({answer["worker"] for answer in answers}) == 6


def _counted(hosts: Hosts, browser: httpx.Client) -> list[int]:
    """What a visit counted through each edge answers."""
    return [
        browser.post(f"{url}/api/visits", json={"op": secrets.token_hex(8)}).status_code
        for url in hosts.urls
    ]
