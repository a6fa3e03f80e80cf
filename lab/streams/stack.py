"""What the machine tells about the stack: its processes, their memory, and the faults that may be caused.

STACK_COMMAND names the command; it understands `pids`, `reload`, `rolling-restart` and
`kill-worker`. Without one only what HTTP shows is measured. Linux only.
"""

import asyncio
import json
import shlex
from contextlib import suppress

import psutil

ROLES = ("worker", "nginx", "redis")
TIMEOUT_SECONDS = 120.0


class Stack:
    """The running stack, as far as we may touch it."""

    def __init__(self, command: str) -> None:
        self._command = shlex.split(command)

    @property
    def reachable(self) -> bool:
        """Whether memory can be read and faults can be made."""
        return bool(self._command)

    async def act(self, action: str) -> str:
        """Do `reload`, `rolling-restart` or `kill-worker`; RuntimeError: it failed."""
        process = await asyncio.create_subprocess_exec(
            *self._command, action, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(TIMEOUT_SECONDS):
            output, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"{action} failed with exit code {process.returncode}")
        return output.decode()

    async def pids(self) -> dict[str, list[int]]:
        """The processes by role."""
        found: dict[str, list[int]] = json.loads(await self.act("pids"))
        return found

    async def memory(self) -> dict[str, int]:
        """The private memory of each role's processes in user space, in bytes."""
        pids = await self.pids()
        return {role: sum(private_bytes(pid) for pid in pids.get(role, [])) for role in ROLES}

    async def files(self) -> dict[str, tuple[int, int]]:
        """Of each role the fullest process: its open files, and how many it may have."""
        pids = await self.pids()
        found = {}
        for role, own in pids.items():
            counts = map(open_files, own)
            found[role] = max(counts, default=(0, 1), key=lambda pair: pair[0] / pair[1])
        return found


def private_bytes(pid: int) -> int:
    """What the process has for itself alone (RssAnon of Linux); 0 when it has ended."""
    with suppress(psutil.Error):
        memory = psutil.Process(pid).memory_info()
        return int(memory.rss - memory.shared)
    return 0


def open_files(pid: int) -> tuple[int, int]:
    """How many files and sockets the process has open, and how many it may have; 0 of 1 when it has ended."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        most, _ = process.rlimit(psutil.RLIMIT_NOFILE)
        return process.num_fds(), 1 << 30 if most == psutil.RLIM_INFINITY else most
    return 0, 1


def available_bytes() -> int:
    """Memory that the machine can still give."""
    return int(psutil.virtual_memory().available)
