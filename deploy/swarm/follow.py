"""A roll-out in Swarm, until it has ended: every service as deployed, or rolled back with the reason."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

from deploy.docker import docker
from deploy.refused import Refused
from deploy.swarm.docker import services, tasks

WAIT_SECONDS = 300.0
LOOK_SECONDS = 1.0
ACTIVE = ("running", "ready")  # what the engine wants of a task that is not on its way out
FAILED = ("rollback_completed", "rollback_started", "rollback_paused", "paused")


def follow(name: str, began: float) -> None:
    """Return when each service runs what was deployed since `began`; Refused when one was rolled back, or after 5 min."""
    deadline = time.monotonic() + WAIT_SECONDS
    said: dict[str, str] = {}
    while True:
        states = {service["Spec"]["Name"]: state_of(service, began) for service in services(name)}
        for service, state in states.items():
            if said.get(service) != state:
                print(f"  {service}: {state}", flush=True)
        said = states
        for service, state in states.items():
            if state in FAILED:
                raise Refused(f"{service}: {state.replace('_', ' ')}: {_reason(service)}")
        if states and all(state == "runs" for state in states.values()):
            return
        if time.monotonic() > deadline:
            waiting = ", ".join(s for s, state in states.items() if state != "runs")
            raise Refused(
                f"not running after {WAIT_SECONDS:.0f} s: {waiting}: {_reason(waiting.split(', ')[0])}"
            )
        time.sleep(LOOK_SECONDS)


def state_of(service: dict[str, Any], began: float) -> str:
    """`runs`, how many tasks do, or what became of its update since `began`."""
    if "GlobalJob" in service["Spec"]["Mode"]:
        return "runs" if is_done(service["Spec"]["Name"]) else "not done yet"
    update = service.get("UpdateStatus") or {}
    is_new = _seconds(update.get("StartedAt", "")) >= began - 1  # a second: whole ones are compared
    if is_new and update["State"] != "completed":
        return str(update["State"])
    wanted, running = _counts(service)
    return "runs" if running >= wanted else f"{running} of {wanted} tasks run"


def is_done(job: str) -> bool:
    """Whether the job has ended on every node since it was last changed: `0/0 (1/1 completed)`."""
    for line in docker("service", "ls", "--format", "{{.Name}} {{.Replicas}}").splitlines():
        if found := re.fullmatch(rf"{re.escape(job)} .*\((\d+)/(\d+) completed\)", line):
            return found[1] == found[2] != "0"
    return False


def _counts(service: dict[str, Any]) -> tuple[int, int]:
    """How many tasks there should be, and how many run as the service says now."""
    wanted = as_text(service["Spec"]["TaskTemplate"]["ContainerSpec"])
    found = [task for task in tasks(service["Spec"]["Name"]) if task["DesiredState"] in ACTIVE]
    running = [task for task in found if task["Status"]["State"] == "running"]
    new = [task for task in running if as_text(task["Spec"]["ContainerSpec"]) == wanted]
    replicas = service["Spec"]["Mode"].get("Replicated", {}).get("Replicas")
    return (len(found) or 1) if replicas is None else replicas, len(new)


def as_text(value: Any) -> str:
    """The same for what means the same: lists may be in any order, and what is empty may be missing."""
    if isinstance(value, dict):
        return repr(sorted((name, as_text(one)) for name, one in value.items() if one))
    if isinstance(value, list):
        return repr(sorted(map(as_text, value)))
    return repr(value)


def _seconds(text: str) -> float:
    """An engine's time, which has nanoseconds."""
    head = text.partition(".")[0].removesuffix("Z")
    return datetime.fromisoformat(head).replace(tzinfo=UTC).timestamp() if head else 0.0


def _reason(service: str) -> str:
    errors = [task["Status"]["Err"] for task in tasks(service) if task["Status"].get("Err")]
    return errors[0] if errors else f"`docker service ps --no-trunc {service}` says more"
