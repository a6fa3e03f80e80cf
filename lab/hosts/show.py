"""`python -m lab hosts`: the eight hosts, to look at and to break by hand."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Sequence

from deploy.refused import Refused
from lab.hosts.network import remove_left, why_not
from lab.hosts.topology import Hosts, several_hosts


def show_hosts(words: Sequence[str]) -> int:
    """Run them until Ctrl-C; with --clean remove all networks of hosts that are there instead."""
    if list(words) == ["--clean"]:
        if reason := why_not():
            raise Refused(reason)
        print("\n".join(remove_left(whole=True)) or "there was nothing to remove")
        return 0
    if words:
        raise Refused("usage: python -m lab hosts [--clean]")
    with several_hosts() as hosts:
        print("\n".join(_told(hosts)), flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("\nstopping", flush=True)
    return 0


def _told(hosts: Hosts) -> list[str]:
    lines = [f"{url}/   log in with any name and the password `demo`" for url in hosts.urls]
    for one in hosts.places:
        lines.append(f"{one.name:<10}{one.address:<15}{shlex.join(one.host.command('bash'))}")
    return [*lines, f"files: {hosts.folder}   stop: Ctrl-C"]
