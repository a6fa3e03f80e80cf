"""One run: what its processes are told, and where its files lie."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from loadtest.check.op import Lifetimes
from loadtest.settings import Settings

KEPT_RUNS = 20
STOP_SECONDS = 30  # how long users may take to finish the session they are in
VARIABLE = "LOADTEST_PLAN"  # hands the plan from `python -m loadtest` to Locust
ATTACHED = "LOADTEST_ATTACHED"  # Locust was started by it, and ends with it


@dataclass(frozen=True, slots=True)
class Survey:
    """What a first look at a stack gave."""

    lifetimes: Lifetimes
    missing: tuple[str, ...]  # optional endpoints that it does not have
    rotations: tuple[tuple[str, ...], ...] = ()  # who answered requests sent one by one, each try


@dataclass(frozen=True, slots=True)
class Plan:
    """What a process that sends requests is told."""

    settings: dict[str, Any]  # as shown
    password: str
    survey: Survey
    folder: str
    # What the names of its users begin with: no session of an earlier run is one of theirs.
    users: str

    def to_json(self) -> str:
        """For another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote."""
        plan: dict[str, Any] = json.loads(text)
        survey = plan.pop("survey")
        lifetimes = Lifetimes(**survey.pop("lifetimes"))
        return cls(survey=Survey(lifetimes, **survey), **plan)

    def header(self) -> dict[str, Any]:
        """What the history's first line says besides the lifetimes."""
        survey = self.survey
        return {"settings": self.settings, "missing": survey.missing, "rotations": survey.rotations}


def make_plan(settings: Settings, survey: Survey) -> Plan:
    """The plan of a new run, with a folder of its own below OUT.

    The oldest runs beyond KEPT_RUNS are deleted there.
    """
    runs = settings.out / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-seed{settings.seed}"
    tries = (runs / (f"{name}-{n}" if n else name) for n in range(1000))
    folder = next(path for path in tries if not path.exists())
    folder.mkdir()
    for old in sorted(path for path in runs.iterdir() if path.is_dir())[:-KEPT_RUNS]:
        for path in old.iterdir():
            path.unlink()
        old.rmdir()
    users = f"load{settings.seed}-{time.time_ns() // 10**6:x}"
    return Plan(settings.shown(), settings.demo_password, survey, str(folder), users)


def link_files(folder: Path, out: Path) -> None:
    """Let OUT show the files of this run, and of no other."""
    for path in out.iterdir():
        if path.is_symlink():
            path.unlink()
    for path in folder.iterdir():
        (out / path.name).unlink(missing_ok=True)
        (out / path.name).symlink_to(path.relative_to(out))
