"""What the machine tells about the stack: its processes, their memory, and the faults that may be caused.

STACK_COMMAND names the command; it understands `pids`, `reload`, `rolling-restart` and
`kill-worker`. Without one only what HTTP shows is measured. Memory is read from /proc: Linux only.
"""

import asyncio
import json
import shlex
from pathlib import Path

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
            counts = [(open_files(pid), most_files(pid)) for pid in own]
            found[role] = max(counts, default=(0, 1), key=lambda pair: pair[0] / pair[1])
        return found


def private_bytes(pid: int) -> int:
    """RssAnon: what the process has for itself alone; 0 when it has ended."""
    for line in _read(pid, "status").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def open_files(pid: int) -> int:
    """How many files and sockets the process has open."""
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0


def most_files(pid: int) -> int:
    """Its soft limit."""
    for line in _read(pid, "limits").splitlines():
        if line.startswith("Max open files"):
            word = line.split()[3]
            return int(word) if word.isdigit() else 1 << 30
    return 1


def available_bytes() -> int:
    """Memory the machine can still give, or a very large number where it does not say."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return 1 << 60
    line = next(line for line in text.splitlines() if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""
