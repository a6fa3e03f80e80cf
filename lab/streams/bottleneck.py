"""Which resource ran out and ended a run, and what to raise."""

from collections.abc import Mapping

from lab.streams.generators import Counts
from lab.streams.stack import available_bytes

BYTES_A_STREAM = 64 * 1024  # worker, nginx, generator and the kernel's sockets together, generously
NEARLY_FULL = 0.95
RAISE_FILES = {
    "worker": "add workers to nginx/upstream.conf, or raise the hard limit (`ulimit -Hn`)",
    "nginx": "raise NGINX_PROCESSES",
    "redis": "raise the hard limit (`ulimit -Hn`)",
}


def memory_for(streams: int) -> str:
    """Why so many more streams would not fit into this machine's memory; empty when they would."""
    available = available_bytes()
    if streams * BYTES_A_STREAM <= available * 0.9:
        return ""
    return (
        f"memory: {streams:,} streams more need about {streams * BYTES_A_STREAM / 2**20:,.0f} MiB of"
        f" the {available / 2**20:,.0f} MiB that are left; choose a smaller N"
    )


def why_stopped(counts: Counts, files: Mapping[str, tuple[int, int]], streams: int) -> str:
    """What kept the generators from reaching that many streams."""
    for role, (used, most) in files.items():
        if used >= NEARLY_FULL * most:
            return f"open files: a {role} process has {used:,} of {most:,}; {RAISE_FILES[role]}"
    if not counts.refused:
        return f"time: {counts.open:,} of {streams:,} streams were open when it was up"
    reason, count = counts.refused.most_common(1)[0]
    return f"{reason} ({count:,} times): {_remedy(reason)}"


def _remedy(reason: str) -> str:
    if reason == "no file left in the generator":
        return "open files of the generator; raise the hard limit (`ulimit -Hn`)"
    if reason == "no local port left":
        return "local ports; widen net.ipv4.ip_local_port_range"
    if reason == "status 429":
        return "the application's own limit of streams a session"
    if reason == "status 401":
        return "the session is gone: was Redis emptied?"
    if reason.startswith("status 5") or reason in ("connection closed", "connection refused"):
        return (
            "nginx or a worker has no room for more: worker_connections of all nginx processes hold"
            " half as many streams; raise NGINX_PROCESSES"
        )
    return "the stack is too slow to take so many at once; choose a smaller N"
