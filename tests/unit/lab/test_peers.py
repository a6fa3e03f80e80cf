"""What `make bench PEERS=1` installs: exact versions with their hashes, from wherever the machine gets packages."""

from __future__ import annotations

import json
import re

from lab.cost.peers.run import EXPRESS, HERE, PEERS, versions

PYTHON = (HERE / "requirements.txt").read_text()
NODE = json.loads((HERE / "package-lock.json").read_text())["packages"]


def test_python_packages_are_exact() -> None:
    """Each has one version and hashes, and none an address."""
    packages = re.split(r"\n(?=[a-z])", PYTHON.strip())
    assert len(packages) > 20
    assert all(re.match(r"[\w.-]+==[\w.]+ .*?--hash=sha256:", text, re.DOTALL) for text in packages)
    assert "://" not in PYTHON


def test_node_packages_are_exact() -> None:
    """Each has one version and its integrity, and none says where it came from."""
    own = {name: package for name, package in NODE.items() if name}
    assert len(own) > 50
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", package["version"]) for package in own.values())
    assert all(package["integrity"].startswith("sha512-") for package in own.values())
    assert not any("resolved" in package for package in own.values())


def test_versions_are_told() -> None:
    """Each row names the versions of what it measures."""
    known = versions()
    rows = [peer.comparison(known).what for peer in (*PEERS, EXPRESS)]
    assert [len(re.findall(r"[a-z-]+ \d+\.\d+\.\d+", row)) for row in rows] == [2, 3, 3, 3]
