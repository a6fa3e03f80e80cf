"""The Docker CLI, run in this project's folder."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from deploy.paths import ROOT
from deploy.refused import Refused


def run_docker(
    *argv: str, environ: Mapping[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """`docker ARGV` when it has ended; Refused repeats why it failed, unless `check` is False."""
    try:
        result = subprocess.run(
            ("docker", *argv),
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise Refused("Docker is not installed here") from None
    if check and result.returncode:
        said = (result.stderr or result.stdout).strip() or f"exit code {result.returncode}"
        raise Refused(f"docker {' '.join(argv[:3])} … failed\n{said}")
    return result


def docker(*argv: str, environ: Mapping[str, str] | None = None, check: bool = True) -> str:
    """What `docker ARGV` prints."""
    return run_docker(*argv, environ=environ, check=check).stdout
