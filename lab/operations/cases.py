"""The operations that are measured, and how much each may cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from lab.operations.target import ContainerTarget, Target
from lab.operations.visitor import Result

# Shorter than the watchdog waits: the requests sent to it wait, and are answered.
FROZEN_SECONDS = 5.0
SETTLE_SECONDS = 3.0  # nginx has looked every name up again
RESETS_SECONDS = 0.05  # a reset of a killed process's connections arrives this soon


@dataclass
class Moments:
    """What an operation notes for its judgement: seconds of time.monotonic(), and requests of its own."""

    began: float = 0.0
    ended: float = 0.0
    also: list[Result] = field(default_factory=list)


Allowed = Callable[[Sequence[Result], Moments], bool]
Where = TypeVar("Where", bound=Target, contravariant=True)


@dataclass(frozen=True)
class Operation(Generic[Where]):
    """`allowed` looks at all requests and says whether the losses are within what is promised."""

    name: str
    run: Callable[[Where, Moments], None]
    allowed: Allowed
    promise: str = "none"
    moments: Moments = field(default_factory=Moments)


def nothing_lost(results: Sequence[Result], _: Moments) -> bool:
    """Every request was answered with success."""
    return not any(result.failure for result in results)


def only_posts_in_flight(results: Sequence[Result], moments: Moments) -> bool:
    """No GET is lost, and of POSTs only such as were under way when the worker was killed."""
    lost = [result for result in results if result.failure]
    return all(
        result.method == "POST"
        and result.began <= moments.ended + RESETS_SECONDS
        and moments.began <= result.ended
        for result in lost
    )


def nothing_lost_afterwards(results: Sequence[Result], moments: Moments) -> bool:
    """Whatever began after the operation had ended was answered with success."""
    return not any(result.failure and result.began > moments.ended for result in results)


def waits(results: Sequence[Result]) -> str:
    """How many were answered after more than a second, and the longest time any took."""
    took = [result.ended - result.began for result in results]
    late = sum(seconds > 1 for seconds in took)
    return f"{late:,}, {max(took, default=0):.1f} s"


def operations(*, quick: bool) -> list[Operation[Target]]:
    """Those of every stack; `quick` does each fewer times."""
    reloads, restarts, most = (4, 1, 6) if quick else (12, 3, 8)
    times = f", {restarts} times" if restarts > 1 else ""
    drains = "drain and undrain one worker" if quick else "drain and undrain each worker"
    return [
        Operation(f"{reloads} reloads, one a second", _reloads(reloads), nothing_lost),
        Operation(f"rolling restart of all workers{times}", _restarts(restarts), nothing_lost),
        Operation(f"scale 4 → {most} → 3", _scales(most), nothing_lost),
        Operation(drains, _drains(1 if quick else None), nothing_lost),
        Operation("SIGKILL a worker", _kill, only_posts_in_flight, "POSTs in flight on it"),
        Operation(f"SIGSTOP a worker for {FROZEN_SECONDS:g} s", _freeze, nothing_lost),
    ]


def container_operations() -> list[Operation[ContainerTarget]]:
    """Those that only Docker has."""
    while_away = "while there is no container"
    return [
        Operation("scale app 1 → 3 → 1", _containers, nothing_lost),
        Operation("a container of a new image", _replace, nothing_lost),
        Operation("recreate the app container", _recreate, nothing_lost_afterwards, while_away),
    ]


def _reloads(times: int) -> Callable[[Target, Moments], None]:
    def run(target: Target, _: Moments) -> None:
        began = time.monotonic()
        for number in range(times):
            time.sleep(max(0.0, began + number - time.monotonic()))
            target.reload()

    return run


def _restarts(times: int) -> Callable[[Target, Moments], None]:
    def run(target: Target, _: Moments) -> None:
        for _number in range(times):
            target.restart_all()

    return run


def _scales(most: int) -> Callable[[Target, Moments], None]:
    def run(target: Target, _: Moments) -> None:
        for number in (most, 3):
            target.scale(number)

    return run


def _drains(number: int | None) -> Callable[[Target, Moments], None]:
    def run(target: Target, _: Moments) -> None:
        for port in target.workers()[:number]:
            target.drain(port)
            target.undrain(port)

    return run


def _kill(target: Target, moments: Moments) -> None:
    moments.began = time.monotonic()
    target.send_signal(target.workers()[1], "KILL")
    moments.ended = time.monotonic()
    time.sleep(4)


def _freeze(target: Target, moments: Moments) -> None:
    port = target.workers()[1]
    target.send_signal(port, "STOP")
    moments.began = time.monotonic()
    time.sleep(FROZEN_SECONDS)
    target.send_signal(port, "CONT")
    moments.ended = time.monotonic()
    time.sleep(1)


def _containers(target: ContainerTarget, _: Moments) -> None:
    target.containers(3)
    target.containers(1)
    time.sleep(SETTLE_SECONDS)


def _replace(target: ContainerTarget, _: Moments) -> None:
    target.replace()
    time.sleep(SETTLE_SECONDS)


def _recreate(target: ContainerTarget, moments: Moments) -> None:
    target.recreate()
    moments.ended = time.monotonic()
    time.sleep(SETTLE_SECONDS)
