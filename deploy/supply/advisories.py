"""`make audit`: the locked packages against what is known of them; pip-audit asks PyPI."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from deploy.paths import ROOT

NOT_COMPARED = 3  # the exit code where nobody can tell
PIP_AUDIT = (sys.executable, "-m", "pip_audit")


def audit(program: Sequence[str] = PIP_AUDIT) -> int:
    """0: nothing is known. 1: something is, and is printed. 3: without an answer for some, which is no all-clear."""
    locks = sorted((ROOT / "deploy/requirements").glob("*.txt"))
    given = [word for lock in locks for word in ("--requirement", str(lock))]
    quiet = ("--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json")
    result = subprocess.run([*program, *quiet, *given], capture_output=True, text=True, check=False)
    try:
        found = json.loads(result.stdout)["dependencies"]
    except (ValueError, KeyError):
        said = (result.stderr.strip() or "no output").splitlines()[-1]
        print(f"not compared: the service with the advisories is out of reach ({said[:200]})")
        return NOT_COMPARED
    return judge(found)


def judge(found: list[dict[str, Any]]) -> int:
    """The exit code for what pip-audit found, which is printed."""
    bad = [one for one in found if one.get("vulns")]
    unknown = [one["name"] for one in found if "skip_reason" in one]
    for one in bad:
        for hole in one["vulns"]:
            names = ", ".join([hole["id"], *hole["aliases"]])
            mended = ", ".join(hole["fix_versions"]) or "no version yet"
            print(f"{one['name']} {one['version']}: {names}; mended in {mended}")
    if unknown:
        print(
            f"not compared: {len(unknown)} of {len(found)} packages; "
            "the service with the advisories does not know them, or is out of reach"
        )
    if not bad and not unknown:
        print(f"nothing is known against {len(found)} packages")
    return 1 if bad else NOT_COMPARED if unknown else 0
