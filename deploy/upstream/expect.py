"""What a load test has to know of the upstream, as environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from deploy.refused import Refused
from deploy.upstream.read import read_upstream


def upstream_facts(upstream_conf: Path) -> dict[str, str]:
    """How many workers should answer, how the rotation weighs them, and how nginx chooses."""
    upstream = read_upstream(upstream_conf)
    weights = ",".join(str(server.weight) for server in upstream.served)
    return {
        "WORKERS": str(len(upstream.served)),
        "WEIGHTS": weights,
        "POLICY": upstream.policy,
    }


def become(command: Sequence[str], upstream_conf: Path, environ: Mapping[str, str]) -> NoReturn:
    """Turn this process into COMMAND, with those facts in its environment.

    What was given wins: with `--scale app=2` there are more workers than lines.
    """
    given = {name: value for name, value in environ.items() if value}
    try:
        os.execvpe(command[0], list(command), {**environ, **upstream_facts(upstream_conf), **given})
    except FileNotFoundError:
        raise Refused(f"there is no command {command[0]}") from None
