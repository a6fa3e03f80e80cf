"""Hosts on this machine: network namespaces, joined by a bridge that has a namespace of its own.

For root, on Linux.  The network is 198.18.N.0/24 (RFC 2544: for tests between networks), in which this
process is .1.  Names hold this process's number, so the next network removes what a killed one left.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy.paths import ROOT
from deploy.refused import Refused

MARK = "rrhost"
NAME = re.compile(rf"{MARK}(\d+)x\d+-[a-z0-9-]+")
_numbers = itertools.count(1)  # of the networks of this process
NETWORKS = ipaddress.ip_network("198.18.0.0/16").subnets(new_prefix=24)
NEEDED = ("ip", "iptables")
FOLDER = ROOT / ".stack/hosts"
DEVICE = "eth0"  # of each host


@dataclass(frozen=True)
class Host:
    """One network namespace with one address; `name` is also its port's name on the bridge."""

    name: str
    address: str
    namespace: str

    def command(self, *words: str) -> list[str]:
        """The command line that runs `words` there; the process that is started is the one that is named."""
        return ["ip", "netns", "exec", self.namespace, *words]

    def signal(self, number: signal.Signals) -> None:
        """Send it to every process there: SIGKILL is a power cut, SIGSTOP a machine that is frozen."""
        for pid in _pids(self.namespace):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def why_not() -> str | None:
    """Why hosts cannot be made here, in one line; None when they can."""
    if os.geteuid() != 0:
        return "several hosts are network namespaces, which only root may make"
    missing = [name for name in NEEDED if shutil.which(name) is None]
    return (
        f"several hosts need {' and '.join(missing)} (Debian: iproute2, iptables)"
        if missing
        else None
    )


class Network:
    """Hosts of these names, from the beginning of the `with` block to its end; Refused says why not."""

    def __init__(self, names: Sequence[str]) -> None:
        self._mark = f"{MARK}{os.getpid()}x{next(_numbers)}"
        self._switch = f"{self._mark}-switch"
        # For the files of these hosts; removed with what a killed one left.
        self.folder = FOLDER / self._mark
        self.network = _unused()
        addresses = list(self.network.hosts())
        self.own_address = str(addresses[0])
        self.hosts = {
            name: Host(name, str(addresses[number]), f"{self._mark}-{name}")
            for number, name in enumerate(names, start=10)
        }

    def __enter__(self) -> Network:
        if reason := why_not():
            raise Refused(reason)
        remove_left()
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        remove(name for name in _namespaces() if name.startswith(f"{self._mark}-"))

    def cut(self, *hosts: Host) -> None:
        """Take each one's port of the bridge down: nothing reaches it or comes from it, as with a pulled cable."""
        for host in hosts:
            _ip("-n", self._switch, "link", "set", host.name, "down")

    def partition(self, some: Iterable[Host], others: Iterable[Host]) -> None:
        """Nothing passes between the two groups any more, and nobody is told; inside a group all is as before."""
        some, others = list(some), list(others)
        self.one_way(some, others)
        self.one_way(others, some)

    def one_way(self, senders: Iterable[Host], receivers: Iterable[Host]) -> None:
        """What `senders` send does not arrive at `receivers`; the other direction works."""
        addresses = ",".join(host.address for host in senders)
        for host in receivers:
            rule = ("iptables", "-A", "INPUT", "-s", addresses, "-j", "DROP")
            _run(*host.command(*rule))

    def heal(self) -> None:
        """Every wire is whole again."""
        for host in self.hosts.values():
            _run(*host.command("iptables", "-F", "INPUT"))
            _ip("-n", self._switch, "link", "set", host.name, "up")

    def _make(self) -> None:
        _ip("netns", "add", self._switch)
        _ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "bridge", "up")
        for host in self.hosts.values():
            _ip("netns", "add", host.namespace)
            _ip("-n", host.namespace, "link", "set", "lo", "up")
            self._join(host.name, host.address, DEVICE, host.namespace)
        self._join("outside", self.own_address, self._mark, None)

    def _join(self, port: str, address: str, device: str, namespace: str | None) -> None:
        """Lead a wire from the bridge to a namespace, or to this process's."""
        there = ("-n", namespace) if namespace else ()
        into = ("netns", namespace) if namespace else ("netns", str(os.getpid()))
        _ip(
            *("-n", self._switch, "link", "add", port, "type", "veth"),
            *("peer", "name", device, *into),
        )
        _ip("-n", self._switch, "link", "set", port, "master", "bridge", "up")
        _ip(*there, "addr", "add", f"{address}/{self.network.prefixlen}", "dev", device)
        _ip(*there, "link", "set", device, "up")


def remove_left(*, whole: bool = False) -> list[str]:
    """Remove the networks whose process is gone, with `whole` all of them; the names of what was removed."""
    found = [(name, int(match[1])) for name in _namespaces() if (match := NAME.fullmatch(name))]
    left = [name for name, pid in found if whole or not psutil.pid_exists(pid)]
    remove(left)
    for name in left:
        shutil.rmtree(FOLDER / name.partition("-")[0], ignore_errors=True)
    return left


def remove(namespaces: Iterable[str]) -> None:
    """End every process in them, then remove them; their wires go with them."""
    for name in list(namespaces):
        for pid in _pids(name):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if name.endswith(
            "-switch"
        ):  # the kernel removes its wires later, and this one's name is needed again
            _try("link", "del", name.removesuffix("-switch"))
        _try("netns", "del", name)


def _namespaces() -> Iterator[str]:
    folder = Path("/run/netns")
    return (path.name for path in folder.iterdir()) if folder.is_dir() else iter(())


def _pids(namespace: str) -> list[int]:
    done = subprocess.run(
        ["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False
    )
    return [int(word) for word in done.stdout.split()]


def _unused() -> ipaddress.IPv4Network:
    """A network in which this machine has no address yet."""
    taken = {
        ipaddress.ip_address(one.address)
        for addresses in psutil.net_if_addrs().values()
        for one in addresses
        if one.family.name == "AF_INET"
    }
    for network in NETWORKS:
        if not any(address in network for address in taken):
            return network  # type: ignore[return-value]
    raise Refused("this machine has an address in every network of 198.18.0.0/16")


def _ip(*words: str) -> None:
    _run("ip", *words)


def _try(*words: str) -> None:
    subprocess.run(["ip", *words], check=False, capture_output=True)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"{' '.join(command)}: {done.stderr.strip()}")
