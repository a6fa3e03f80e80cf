"""One more nginx for each balancing policy, before the workers of a native stack.

Each is the stack's own configuration with few lines changed.  Only here is a forwarded address
believed, and only from 127.0.0.1, where the load generator is: the stack itself believes none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.free_port import free_ports
from deploy.native.site import NativeSite
from deploy.upstream.read import POLICIES
from lab.policies import policies
from lab.testbed.second_nginx import Change, replaced, rewritten, second_nginx

ZONE = r"\bzone\s[^;]*;"
POLICY = rf"\b({'|'.join(POLICIES)})\b[^;#]*;"
RETRY = "proxy_next_upstream error timeout"
FORWARDED = """# Only for a comparison: the load generator says which client it speaks for.
set_real_ip_from 127.0.0.1;
real_ip_header X-Forwarded-For;
"""


@dataclass(frozen=True)
class Front:
    """What is changed: the policy's line; a worker that answers 500 at once; a retry after a 500."""

    policy: str = ""
    failing: bool = False
    retried: bool = False


FRONTS: Mapping[str, Front] = {
    **{
        policy.name: Front(policy.line)
        for policy in policies.POLICIES
        if policy.name != policies.AGAIN
    },
    "failing_round_robin": Front(failing=True),
    "failing_least_conn": Front("least_conn;", failing=True),
    "failing_retried": Front("least_conn;", failing=True, retried=True),
}


@contextmanager
def running_fronts(
    stack: NativeSite, fronts: Mapping[str, Front] = FRONTS
) -> Iterator[dict[str, str]]:
    """The address of each front, by name; they run while the block does."""
    with TemporaryDirectory(prefix="fronts-") as folder, ExitStack() as running:
        addresses = {}
        for name, front in fronts.items():
            changed = changes(stack, front)
            at = running.enter_context(second_nginx(stack, Path(folder) / name, changed))
            addresses[name] = at.url
        yield addresses


def changes(stack: NativeSite, front: Front) -> dict[str, Change]:
    """By file, how this front's configuration differs from the stack's."""

    def upstream(text: str) -> str:
        text = rewritten(f"({ZONE})", rf"\1 {front.policy}")(re.sub(POLICY, "", text))
        if not front.failing:
            return FORWARDED + text
        [port] = free_ports(1)
        failing = f"server {{ listen 127.0.0.1:{port}; return 500; access_log off; }}\n"
        text = rewritten(rf":{stack.worker_ports[0]}\b", f":{port}")(text)
        return FORWARDED + failing + text

    retried = {"proxy.conf": replaced(RETRY, f"{RETRY} http_500")} if front.retried else {}
    return {"upstream.conf": upstream, **retried}
