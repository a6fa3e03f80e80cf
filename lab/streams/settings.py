"""The settings of one run: the environment that `make longconn NAME=value` sets."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from deploy.paths import ROOT
from lab.settings import WrongSetting, switch, whole

RESULTS = ROOT / ".stack/longconn"
MOST = 36_000
QUICK = 300
STEPS = (1_500, 6_000, 10_000, 18_000, MOST)
ARTICLE = (1_500, 6_000)  # connections of one process, and of several, in the article's words
STREAMS_PER_SESSION = 4  # one on each of four workers, so that each worker watches each session
STREAMS_PER_PROCESS = 9_000  # of the generator: half of what 20,000 open files would allow


@dataclass(frozen=True, slots=True)
class Settings:
    """What to open, and where.  `stack_command` is empty for a stack where no faults may be caused."""

    host: str
    stack_command: str
    steps: tuple[int, ...]
    reload: bool  # nginx's old processes keep their streams for a minute
    probe_seconds: float
    password: str
    out: Path
    write: bool  # into docs/, too

    @property
    def most(self) -> int:
        return self.steps[-1]

    @property
    def sources(self) -> list[str]:
        """The address each generator process connects from; empty: whatever the kernel takes."""
        count = max(1, -(-self.most // STREAMS_PER_PROCESS))
        loopback = (urlsplit(self.host).hostname or "").startswith("127.")
        return [f"127.0.0.{2 + number}" if loopback else "" for number in range(count)]


def read_settings(environ: Mapping[str, str]) -> Settings:
    """WrongSetting names what is wrong."""
    quick = switch(environ, "QUICK")
    most = whole(environ, "N", QUICK if quick else MOST, 10, 1_000_000)
    host = environ.get("HOST") or "http://127.0.0.1:8080"
    if urlsplit(host).scheme != "http":
        raise WrongSetting(f"HOST={host} must be an http address: streams are opened without TLS")
    return Settings(
        host=host.rstrip("/"),
        stack_command=environ.get("STACK_COMMAND", ""),
        steps=(*(step for step in STEPS if step < most), most),
        reload=not quick,
        probe_seconds=6.0 if most > STEPS[0] else 2.0,
        password=environ.get("DEMO_PASSWORD") or "demo",
        out=Path(environ.get("OUT") or RESULTS),
        write=switch(environ, "WRITE"),
    )
