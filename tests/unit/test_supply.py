"""`make sbom` and `make audit`: what the stack is made of, and what is known against it."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest

from deploy.paths import ROOT
from deploy.supply.advisories import NOT_COMPARED, audit
from deploy.supply.sbom import bom, installed, locked

LISTING = """os debian 13
deb libssl3t64 3.5.4-1~deb13u1 amd64 openssl
deb zlib1g 1:1.3.1+ds-1 amd64 zlib1g
pypi argon2_cffi
version 25.1.0
"""
WELL: dict[str, Any] = {"name": "tornado", "version": "6.6.1", "vulns": []}
HOLE = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["6.6.2"], "description": "long"}
BAD = WELL | {"vulns": [HOLE]}
SKIPPED = {"name": "ujson", "skip_reason": "not found"}


def test_parts_of_a_lock() -> None:
    """Each package of a lock is in the list, with its version."""
    text = (ROOT / "deploy/requirements/run.txt").read_text()
    parts = locked(text)

    assert len(parts) == len(re.findall("^[^# ].*==", text, re.MULTILINE))
    assert "pkg:pypi/tornado@6.6.1" in {part["purl"] for part in parts}


def test_parts_of_an_image() -> None:
    """System, Debian's packages with the source that advisories name, and Python's packages."""
    system, ssl, zlib, argon = installed(LISTING)

    assert (system["name"], system["version"]) == ("debian", "13")
    assert ssl["purl"] == (
        "pkg:deb/debian/libssl3t64@3.5.4-1~deb13u1?arch=amd64&distro=debian-13&upstream=openssl"
    )
    assert zlib["purl"] == "pkg:deb/debian/zlib1g@1:1.3.1%2Bds-1?arch=amd64&distro=debian-13"
    assert (argon["name"], argon["purl"]) == ("argon2_cffi", "pkg:pypi/argon2-cffi@25.1.0")


def test_document() -> None:
    """The same parts in another order are the same document, other parts are another one."""
    parts, of = list(installed(LISTING)), {"type": "container", "name": "app", "version": "1"}

    assert bom(of, parts) == bom(of, reversed(parts))
    assert bom(of, parts)["serialNumber"] != bom(of, parts[1:])["serialNumber"]
    assert (bom(of, parts)["bomFormat"], bom(of, parts)["specVersion"]) == ("CycloneDX", "1.6")


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ([WELL], 0, "nothing is known against 1 packages"),
        ([WELL, BAD], 1, "tornado 6.6.1: PYSEC-1, CVE-1; mended in 6.6.2"),
        ([WELL, SKIPPED], NOT_COMPARED, "not compared: 1 of 2 packages"),
        ([BAD, SKIPPED], 1, "not compared: 1 of 2 packages"),
        (None, NOT_COMPARED, "is out of reach (ConnectionError: no route)"),
    ],
)
def test_audit(capsys: pytest.CaptureFixture[str], answer: Any, code: int, said: str) -> None:
    """0 only when all were compared and nothing is known; what is not compared is no all-clear."""
    text = json.dumps({"dependencies": answer}) if answer else ""
    program = f"import sys; print({text!r}); sys.exit('ConnectionError: no route')"

    assert audit([sys.executable, "-c", program]) == code
    shown = capsys.readouterr().out
    assert said in shown
    assert code == 1 or len(shown.splitlines()) == 1
