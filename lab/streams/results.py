"""What a run found, and whether it meets the goals that were set before it."""

import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

RELOAD = "nginx reload"
MOST_P99_RATIO = 2.0
MOST_DELIVERY_SECONDS = 2.0
DELIVERY_GOAL_AT = 18_000
MOST_LOGOUT_SECONDS = 1.0
MOST_MEMORY_RATIO = 1.5  # allocators keep part of what a crowd took: docs/decisions.md
MOST_SECOND_RATIO = 1.1  # a second crowd must fit into what the first one took


@dataclass(slots=True)
class Probe:
    """Normal requests, sent at random moments while streams were open; milliseconds."""

    asked: int
    failed: int
    unknown: int  # writes that were cut off and may have happened
    p50: float  # of all
    p99: float  # the median of `windows`: a pause of the machine spoils one of them, not this
    windows: list[float] = field(default_factory=list)  # p99 of each second


@dataclass(slots=True)
class Step:
    """What so many open streams cost.  Bytes a stream are of all processes of a role together."""

    streams: int
    connects_per_second: float
    bytes_per_stream: dict[str, float]
    probe: Probe
    delivery_p50: float  # seconds from asking for an alert until half of the streams had it
    delivery_p99: float
    missed: int  # streams that did not receive it
    logout_seconds: float  # the longest of a few


@dataclass(slots=True)
class Fault:
    """What a fault did to all streams and to the requests beside them."""

    name: str
    cuts_writes: bool  # whether it may cut off a write that a worker was doing
    lost: int
    back_seconds: float  # from the fault until every stream was open again
    longest_away: float  # seconds that any one stream was not open
    peak_connects_per_second: float
    connects_per_half_second: list[int]  # begun, from the first on
    refused: dict[str, int]
    all_back: bool
    probe: Probe
    memory: dict[str, int]  # bytes of each role with all streams open again

    @property
    def sessions_lost(self) -> int:
        """Reconnects that were told "not logged in"."""
        return self.refused.get("status 401", 0)


@dataclass(slots=True)
class Found:
    """A whole run, or as much of it as was done."""

    wanted: int = 0
    zero: Probe | None = None  # without streams, before
    zero_again: Probe | None = None  # and after: how far apart the same can be
    steps: list[Step] = field(default_factory=list)
    memory_full: dict[str, int] = field(default_factory=dict)  # at the last step
    faults: list[Fault] = field(default_factory=list)
    stopped_by: str = ""
    # By role: the open files of its fullest process, and how many it may have.
    fullest: dict[str, tuple[int, int]] = field(default_factory=dict)
    memory_before: dict[str, int] = field(default_factory=dict)
    memory_after: dict[str, int] = field(default_factory=dict)
    violations: int = 0
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal, what was measured, and whether that is enough; None: the noise hides it."""

    text: str
    measured: str
    met: bool | None

    @property
    def word(self) -> str:
        return {True: "met", False: "MISSED", None: "unsure"}[self.met]


def goals(found: Found) -> Iterator[Goal]:
    """Only what was measured; a goal that could not be looked at is not listed as met."""
    reached = max((step.streams for step in found.steps), default=0)
    yield Goal(f"{found.wanted:,} streams", f"{reached:,} held", reached >= found.wanted)
    if found.zero and found.steps:
        yield _latency(found.zero, found.zero_again, found.steps)
    yield from _deliveries(found.steps)
    if found.steps:
        slowest = max(step.logout_seconds for step in found.steps)
        text = f"logout closes a stream within {MOST_LOGOUT_SECONDS:g} s"
        yield Goal(text, f"{slowest:.2f} s", slowest <= MOST_LOGOUT_SECONDS)
    for fault in found.faults:
        yield _fault(fault)
    if found.memory_before and found.memory_after:
        yield from _memory(found)
    yield Goal("no session is ever wrong", f"{found.violations} violations", not found.violations)


def _latency(zero: Probe, again: Probe | None, steps: list[Step]) -> Goal:
    """Each step against no streams, before and after together; those two apart are the noise."""
    base = base_p99(zero, again)
    ratios = {step.streams: step.probe.p99 / base for step in steps}
    each = ", ".join(f"{ratio:.2f} at {streams:,}" for streams, ratio in ratios.items())
    noise = _apart(zero, again) if again else None
    text = f"normal requests' p99 at most {MOST_P99_RATIO:g} times that without streams"
    failed = sum(step.probe.failed for step in steps)
    measured = f"{each} (of {base:.1f} ms; {failed} failed"
    measured += f"; the same without streams twice: {noise:.2f})" if noise else ")"
    met: bool | None = max(ratios.values()) <= MOST_P99_RATIO and not failed
    if not failed and noise is not None and noise > MOST_P99_RATIO:
        met = None
    return Goal(text, measured, met)


def base_p99(zero: Probe, again: Probe | None) -> float:
    """p99 without streams, ms: the median of all windows, before and after."""
    windows = [*zero.windows, *(again.windows if again else [])]
    return statistics.median(windows or [zero.p99])


def _apart(zero: Probe, again: Probe) -> float:
    """How many times the one is the other, whichever is larger."""
    low, high = sorted((zero.p99, again.p99))
    return high / low if low else 1.0


def _deliveries(steps: list[Step]) -> Iterator[Goal]:
    for step in steps:
        text = f"one alert reaches {step.streams:,} streams"
        if step.streams == DELIVERY_GOAL_AT:
            text += f", p99 within {MOST_DELIVERY_SECONDS:g} s"
        in_time = step.streams != DELIVERY_GOAL_AT or step.delivery_p99 <= MOST_DELIVERY_SECONDS
        measured = f"p99 {step.delivery_p99:.2f} s, {step.missed} missed"
        yield Goal(text, measured, in_time and not step.missed)


def _fault(fault: Fault) -> Goal:
    measured = (
        f"{fault.lost:,} lost, none away for more than {fault.longest_away:.1f} s, at most"
        f" {fault.peak_connects_per_second:,.0f} connects/s; {fault.sessions_lost} sessions lost;"
        f" of {fault.probe.asked} requests {fault.probe.failed} failed and"
        f" {fault.probe.unknown} were cut off"
    )
    harmed = fault.probe.failed or (fault.probe.unknown and not fault.cuts_writes)
    met = fault.all_back and not fault.sessions_lost and not harmed
    return Goal(f"{fault.name}: every stream comes back, nothing else suffers", measured, met)


def _memory(found: Found) -> Iterator[Goal]:
    yield from _no_leak(found)
    for role, before in found.memory_before.items():
        after = found.memory_after.get(role, 0)
        ratio = after / before if before else 1.0
        text = f"memory of {role} afterwards at most {MOST_MEMORY_RATIO:g} times that before"
        measured = f"{before / 2**20:.1f} to {after / 2**20:.1f} MiB ({ratio:.2f} times)"
        yield Goal(text, measured, ratio <= MOST_MEMORY_RATIO)


def _no_leak(found: Found) -> Iterator[Goal]:
    """A reload closes every stream and leaves the workers running: the same again must fit."""
    for fault in found.faults:
        if fault.name != RELOAD or not fault.lost:
            continue
        full, again = found.memory_full["worker"], fault.memory["worker"]
        text = "as many streams a second time take no more memory of the workers"
        measured = f"{full / 2**20:.1f} to {again / 2**20:.1f} MiB ({again / full:.2f} times)"
        yield Goal(text, measured, again <= full * MOST_SECOND_RATIO)


def as_json(found: Found) -> dict[str, Any]:
    """The figures and goals for machines."""
    return asdict(found) | {"goals": [asdict(goal) for goal in goals(found)]}
