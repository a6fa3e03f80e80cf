"""What a load test has to know of the upstream, as environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from deploy.refused import Refused
from deploy.upstream.read import Upstream, read_upstream


def facts_of(upstream: Upstream, *, places: int = 1) -> dict[str, str]:
    """How many workers should answer, how the rotation weighs them, and how nginx chooses.

    A worker's line stands for as many workers as there are `places`: app containers.
    """
    weights = [
        server.weight
        for server in upstream.served
        for _ in range(places if server.is_worker else 1)
    ]
    return {
        "WORKERS": str(len(weights)),
        "WEIGHTS": ",".join(map(str, weights)),
        "POLICY": upstream.policy,
    }


def become(command: Sequence[str], upstream_conf: Path, environ: Mapping[str, str]) -> NoReturn:
    """Turn this process into COMMAND, with those facts in its environment.

    What was given wins: with `--scale app=2` there are more workers than lines.
    """
    given = {name: value for name, value in environ.items() if value}
    facts = facts_of(read_upstream(upstream_conf))
    try:
        os.execvpe(command[0], list(command), {**environ, **facts, **given})
    except FileNotFoundError:
        raise Refused(f"there is no command {command[0]}") from None
