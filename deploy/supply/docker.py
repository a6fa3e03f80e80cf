"""What Docker answers, or Refused with what it complains of."""

from __future__ import annotations

import subprocess

from deploy.refused import Refused


def docker(*argv: str) -> str:
    """The output of `docker ARGV`."""
    try:
        return subprocess.run(["docker", *argv], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        raise Refused("Docker is not installed here") from None
    except subprocess.CalledProcessError as error:
        raise Refused(f"docker {' '.join(argv[:3])}: {error.stderr.strip()}") from None
