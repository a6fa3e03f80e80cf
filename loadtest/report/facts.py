"""What a report says, as plain values: gathered from a finished run once, stored as report.json.

Pictures and page are made of these values alone, so the three never differ.
"""

import json
import platform
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from os import cpu_count
from pathlib import Path
from typing import Any, Self

from loadtest.check.op import Invariant, Kind, Op
from loadtest.check.tally import Report, Witness, explain
from loadtest.verdict.analysis import Analysis
from loadtest.verdict.latency import percentile
from loadtest.verdict.verdict import CERTAINTY, MEANING

LIBRARIES = ("locust", "gevent", "matplotlib")
MOST_INTERVALS = 60
INTERVALS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)  # seconds
DUE = "open arrivals, from the moment they were due"
SENT = "open arrivals, from the moment they were sent"
CLOSED = "closed users, from the moment they sent"
STEPS_A_DECADE = 20
MOST_REQUESTS = 12  # in the picture of a violation
AROUND_SECONDS = 0.1
SHARES = {"half of the answers": 0.5, "95 %": 0.95, "99 %": 0.99}


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything in a report; JSON types only."""

    code: int
    sentence: str
    reasons: list[list[Any]]  # exit code and text
    codes: dict[str, str]  # what each exit code means
    gates: list[dict[str, Any]]
    ended: str  # UTC
    seconds: float
    requests: int
    workers: dict[str, int]  # requests by worker
    by_worker: list[dict[str, Any]]
    # Wrong and all answers, by who logged in and who was asked; with its heads.
    crossing: list[list[str]]
    hops: list[list[int]]  # by worker, by worker of the session's next request; in the same order
    hop_ratio: float
    chance_hops: float  # what the hop ratio would be if chance chose the workers
    timeline: dict[str, Any]
    invariants: list[dict[str, Any]]
    violation: dict[str, Any] | None
    latencies: list[dict[str, Any]]  # rows of the table, milliseconds
    curves: dict[str, list[list[float]]]  # by name: share of requests, milliseconds
    cpu: dict[str, float]  # share of one core, by part
    settings: dict[str, Any]
    versions: dict[str, str]
    again: dict[str, str]  # commands

    @classmethod
    def read(cls, path: Path) -> Self:
        """The facts in a report.json. TypeError or ValueError: it is none."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        """Store them for machines, and for drawing the report once more."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def gather(
    analysis: Analysis, ops: Sequence[Op], parts: Mapping[str, float], versions: str = ""
) -> Facts:
    """The facts of one run. `parts` are the CPU seconds of each part of the stack, `versions` says which these are."""
    counted, spread, verdict = analysis.counted, analysis.spread, analysis.verdict
    return Facts(
        code=int(verdict.code),
        sentence=verdict.sentence,
        reasons=[[int(code), text] for code, text in verdict.reasons],
        codes={str(int(code)): text for code, text in MEANING.items()},
        gates=[{**asdict(gate), "code": int(gate.code)} for gate in verdict.gates],
        ended=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
        seconds=analysis.seconds,
        requests=counted.requests,
        workers={name: spread.requests[name] for name in spread.workers},
        by_worker=_by_worker(analysis),
        crossing=_crossing(analysis),
        hops=[[spread.hops[one, two] for two in spread.workers] for one in spread.workers],
        hop_ratio=spread.hop_ratio,
        chance_hops=spread.chance_hops,
        timeline=timeline(ops, analysis.seconds),
        invariants=[
            {
                "name": str(name),
                "checked": tally.checked,
                "violations": tally.violations,
                "one_in": tally.checked // CERTAINTY,
                "witness": explain(tally.witness),
            }
            for name, tally in analysis.report.tallies.items()
        ],
        violation=_find_violation(analysis.report, ops),
        latencies=[{"name": name, **asdict(row)} for name, row in analysis.latencies.items()],
        curves=curves(ops),
        cpu=_shares(counted.cpu_share, parts, analysis.seconds),
        settings={name: _shown(value) for name, value in analysis.header["settings"].items()},
        versions=_versions(versions),
        again=_again(analysis.header["settings"]),
    )


def timeline(ops: Sequence[Op], seconds: float) -> dict[str, Any]:
    """In equal intervals: answers of each worker, requests without one, and how long answers took."""
    step = next((each for each in INTERVALS if each * MOST_INTERVALS >= seconds), INTERVALS[-1])
    begin = min((op.invoked for op in ops), default=0)
    length = int(step * 1e9)
    count = (max((op.returned for op in ops), default=begin) - begin) // length + 1
    answers: dict[str, Counter[int]] = defaultdict(Counter)
    times: dict[int, list[int]] = defaultdict(list)
    for op in ops:
        place = (op.returned - begin) // length
        answers[op.worker or ""][place] += 1
        if op.status and op.kind is not Kind.SLOW:
            times[place].append(op.returned - op.invoked)
    rows = {name: [answers[name][n] for n in range(count)] for name in sorted(answers)}
    ordered = {place: sorted(own) for place, own in times.items()}
    latency = {
        name: [percentile(ordered[n], share) / 1e6 if n in ordered else None for n in range(count)]
        for name, share in SHARES.items()
    }
    unanswered = rows.pop("", [0] * count)
    return {"interval": step, "answers": rows, "unanswered": unanswered, "latency": latency}


def curves(ops: Sequence[Op]) -> dict[str, list[list[float]]]:
    """Latency distributions: points of share of requests, and the milliseconds they do not exceed."""
    samples: dict[str, list[int]] = {DUE: [], SENT: [], CLOSED: []}
    for op in ops:
        if not op.status or op.kind is Kind.SLOW:
            continue
        if op.intended is not None:
            samples[DUE].append(op.returned - op.intended)
        samples[CLOSED if op.intended is None else SENT].append(op.returned - op.invoked)
    return {name: _curve(sorted(own)) for name, own in samples.items() if own}


def _curve(ordered: list[int]) -> list[list[float]]:
    """Closer together towards 100 %, up to the slowest single request."""
    points, step = [], 0
    while (rest := 10 ** (-step / STEPS_A_DECADE)) >= 1 / len(ordered):
        points.append([1 - rest, percentile(ordered, 1 - rest) / 1e6])
        step += 1
    return [*points, [1 - 1 / len(ordered) / 2, ordered[-1] / 1e6]]


def _by_worker(analysis: Analysis) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "requests": analysis.spread.requests[name],
            "wrong": analysis.crossing.given(name),
            "p50": row.p50,
            "p99": row.p99,
        }
        for name, row in analysis.by_worker.items()
    ]


def _crossing(analysis: Analysis) -> list[list[str]]:
    crossing, names = analysis.crossing, analysis.crossing.workers
    if not crossing.wrong:
        return []
    rows = [
        [home, *(f"{crossing.wrong[home, at]:,} of {crossing.answers[home, at]:,}" for at in names)]
        for home in names
    ]
    return [["", *names], *rows]


def _shares(generator: float, parts: Mapping[str, float], seconds: float) -> dict[str, float]:
    stack = {name: spent / seconds for name, spent in parts.items()} if seconds > 0 else {}
    return {"load generator": generator, **stack}


def _shown(value: object) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _versions(of_stack: str) -> dict[str, str]:
    system = {
        "stack": of_stack or "unknown: it does not run natively here",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": str(cpu_count()),
        "Python": platform.python_version(),
    }
    return system | {name: version(name) for name in LIBRARIES}


def _again(settings: Mapping[str, Any]) -> dict[str, str]:
    names = ("duration", "users", "rate", "seed", "processes")
    same = " ".join(f"{name.upper()}={settings[name]:g}" for name in names)
    return {
        "the same load": f"make loadtest {same}",
        "the stored history": "python -m loadtest.check.offline history.jsonl",
        "this page": "python -m loadtest.report FOLDER",
    }


def _find_violation(report: Report, ops: Sequence[Op]) -> dict[str, Any] | None:
    """The violation to draw, with what else its sessions did meanwhile; None when all invariants hold.

    It is the earliest of the smallest witnesses. Two requests that contradict each other explain more than one that contradicts a count, and a
    promise about one pair more than the one about the counter as a whole.
    """
    broken = [(name, tally.witness) for name, tally in report.tallies.items() if tally.violations]
    return _drawn(*min(broken, key=_order), ops) if broken else None


def _order(found: tuple[Invariant, Witness]) -> tuple[bool, bool, int]:
    name, witness = found
    whole = name is Invariant.LINEARIZABLE_COUNTER
    return len(witness.ops) == 1, whole, max(op.returned for op in witness.ops)


def _drawn(invariant: Invariant, witness: Witness, ops: Sequence[Op]) -> dict[str, Any]:
    """The picture's requests in the order they were sent, milliseconds from the witness's start."""
    numbers = {op.number for op in witness.ops}
    sessions = {op.session for op in witness.ops}
    begin = min(op.invoked for op in witness.ops)
    end = max(op.returned for op in witness.ops)
    margin = int(AROUND_SECONDS * 1e9)
    around = [
        op
        for op in ops
        if op.session in sessions
        and op.number not in numbers
        and op.returned >= begin - margin
        and op.invoked <= end + margin
    ]
    around.sort(key=lambda op: max(begin - op.returned, op.invoked - end, 0))
    shown = sorted(
        [*witness.ops, *around[: MOST_REQUESTS - len(numbers)]], key=lambda op: op.invoked
    )
    return {
        "invariant": str(invariant),
        "possible": witness.possible,
        "requests": [
            {
                "number": op.number,
                "text": _text(op),
                "worker": op.worker,
                "from": (op.invoked - begin) / 1e6,
                "to": (op.returned - begin) / 1e6,
                "witness": op.number in numbers,
            }
            for op in shown
        ],
    }


def _text(op: Op) -> str:
    found = str(op.outcome) if op.value is None else f"count {op.value}"
    other = f", answered for {op.seen}" if op.seen not in (None, op.user) else ""
    return f"{op.kind} of {op.session}: {found}{other}"
