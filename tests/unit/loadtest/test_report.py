"""The report says what the history says, shows the witness of a violation, and needs nothing else."""

from __future__ import annotations

import json
import re
import shutil
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from lab.testbed.loadtest import load
from loadtest.check.history import read_ops
from loadtest.check.offline import check
from loadtest.check.op import Invariant, Kind, Op
from loadtest.report import pictures
from loadtest.report.__main__ import main
from loadtest.report.facts import CLOSED, DUE, SENT, Facts, curves, gather
from loadtest.report.page import write_report
from loadtest.settings import read_settings
from loadtest.verdict import latency, spread
from loadtest.verdict.analysis import Analysis
from loadtest.verdict.suspects import crossing
from loadtest.verdict.verdict import MEANING, Code, Counted, Verdict, judge, load_limits
from tests.unit.loadtest.histories import LIMITS, Tail, overwrite_a_visit, simulate
from tests.unit.loadtest.runs import SHORT, double
from tests.unit.test_style import LEAST_TEXT, contrast

WORKERS = ("host:8001", "host:8002", "host:8003")
PASS = Verdict(Code.HOLDS, "PASS: it held.")


def history(change: Callable[[Tail], None] | None = None) -> list[Op]:
    """A history on three workers; every fourth request was an open arrival, some had no answer."""
    ops, tail = simulate(list(range(60)))
    if change:
        change(tail)
    for number, op in enumerate(ops):
        if number % 11 != 10:
            op.worker, op.status = WORKERS[number * number % 7 % 3], 200
        if number % 4 == 0:
            op.intended = op.invoked - 500_000
    return ops


def facts_of(ops: list[Op], verdict: Verdict = PASS, folder: Path = Path("out")) -> Facts:
    """The facts of a run with this history."""
    settings = read_settings(["--out", str(folder), "--seed", "7"], {})
    counted = Counted(requests=len(ops), cpu_share=0.25)
    seconds = (ops[-1].returned - ops[0].invoked) / 1e9 if ops else 0.0
    report = check(ops, LIMITS)
    verdict = replace(verdict, gates=judge(counted, load_limits()).gates)
    analysis = Analysis(
        {"settings": settings.shown()}, LIMITS, counted, report, spread.measure(ops),
        crossing(ops, report), latency.measure(ops), latency.by_worker(ops), seconds, verdict,
    )  # fmt: skip
    return gather(analysis, ops, {"redis": seconds / 10})


def test_workers_and_hops_are_counted() -> None:
    """Requests by worker and the hop matrix are those of the history, counted by other means."""
    ops = history()
    facts = facts_of(ops)
    assert facts.workers == Counter(op.worker for op in ops if op.worker)
    hops: Counter[tuple[str, str]] = Counter()
    for session in {op.session for op in ops}:
        own = sorted((op.invoked, op.worker) for op in ops if op.session == session and op.worker)
        hops.update(pairwise(worker for _, worker in own))
    assert facts.hops == [[hops[one, two] for two in WORKERS] for one in WORKERS]


def test_every_answer_is_on_the_timeline() -> None:
    """Each interval counts the answers that came in it; requests without one are counted apart."""
    ops = history()
    timeline = facts_of(ops).timeline
    begin, step = ops[0].invoked, round(timeline["interval"] * 10**9)
    count = (max(op.returned for op in ops) - begin) // step + 1
    for worker in WORKERS:
        own = [(op.returned - begin) // step for op in ops if op.worker == worker]
        assert timeline["answers"][worker] == [own.count(n) for n in range(count)]
    assert sum(timeline["unanswered"]) == sum(op.worker is None for op in ops) > 0


def test_invariants_are_the_checkers() -> None:
    """The table of invariants has the counts of the offline checker."""
    ops = history()
    rows = {row["name"]: (row["checked"], row["violations"]) for row in facts_of(ops).invariants}
    assert rows == check(ops, LIMITS).counts()


def test_curve_is_the_distribution() -> None:
    """At each point of a curve, that share of the requests took at most that long, and no smaller time does."""
    ops = [op for op in history() if op.status]
    drawn = facts_of(ops).curves
    samples = {
        DUE: [op.returned - op.intended for op in ops if op.intended],
        SENT: [op.returned - op.invoked for op in ops if op.intended],
        CLOSED: [op.returned - op.invoked for op in ops if not op.intended],
    }
    for name, times in samples.items():
        ordered = [round(time / 1e6, 6) for time in sorted(times)]
        for share, time in drawn[name][:-1]:
            below = bisect_left(ordered, round(time, 6)) / len(ordered)
            assert below <= share + 1e-9
            assert sum(each <= round(time, 6) for each in ordered) >= share * len(ordered) - 1e-6
        assert drawn[name][-1][1] == pytest.approx(ordered[-1])


def test_slow_on_purpose_is_left_out() -> None:
    """A request that was asked to be slow says nothing about the stack's latency."""
    assert curves([Op(1, Kind.SLOW, "s", "u", 0, returned=10**9, status=200)]) == {}


def test_cost_and_conditions() -> None:
    """The share of a core of each part, the seed, and the command that repeats the run are in it."""
    facts = facts_of(history())
    assert facts.cpu == {"load generator": 0.25, "redis": pytest.approx(0.1)}
    assert facts.settings["seed"] == 7
    assert "SEED=7" in facts.again["the same load"]
    assert "demo_password" not in facts.settings
    assert {"locust", "Python"} <= set(facts.versions)


@pytest.fixture(scope="module")
def broken_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that found a lost update, with its report."""
    folder = tmp_path_factory.mktemp("broken")
    verdict = Verdict(Code.CONSISTENCY, "FAIL", ((Code.CONSISTENCY, "lost"),))
    write_report(facts_of(history(overwrite_a_visit), verdict, folder), folder)
    return folder


def test_violation_is_shown(broken_run: Path) -> None:
    """The requests that prove a violation are in the page, in its picture, and marked there."""
    ops = history(overwrite_a_visit)
    facts = Facts.read(broken_run / "report.json")
    witness = check(ops, LIMITS).tallies
    assert facts.violation is not None
    marked = [each["number"] for each in facts.violation["requests"] if each["witness"]]
    broken = Invariant(facts.violation["invariant"])
    assert broken is not Invariant.LINEARIZABLE_COUNTER
    assert set(marked) == {op.number for op in witness[broken].witness.ops}
    page = (broken_run / "report.html").read_text()
    for tally in witness.values():
        assert all(f"#{op.number} {op.kind} of {op.session}" in page for op in tally.witness.ops)
    assert (broken_run / "violation.png").stat().st_size > 1000


def test_violation_of_an_earlier_run_goes(tmp_path: Path) -> None:
    """A run that passes leaves no picture of a violation behind."""
    (tmp_path / "violation.png").touch()
    page = write_report(facts_of(history()), tmp_path).read_text()
    assert not list(tmp_path.glob("violation.*"))
    assert "What proves it" not in page


class References(HTMLParser):
    """Collects what a page would load or link to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = ("src", "href", "xlink:href", "data", "action", "srcset", "poster")
        self.found += [value or "" for name, value in attrs if name in names]
        self.found += [tag] if tag in ("script", "link", "iframe", "object", "embed") else []


def external(page: str) -> list[str]:
    """What `page` needs from elsewhere."""
    references = References()
    references.feed(page)
    urls = re.findall(r"url\(([^)]*)\)", page) + re.findall(r"@import[^;]*", page)
    return [each for each in references.found + urls if not each.strip("'\"").startswith("#")]


def test_page_stands_alone(broken_run: Path) -> None:
    """The page loads nothing, and links nowhere but to the meaning of the exit codes in itself."""
    page = (broken_run / "report.html").read_text()
    assert external(page) == []
    assert len(re.findall("<svg", page)) == 5


def test_exit_codes_are_explained(broken_run: Path) -> None:
    """Each exit code links to what it means, and the page has one main landmark."""
    page = (broken_run / "report.html").read_text()
    assert 'href="#exit-codes"' in page
    assert page.count('id="exit-codes"') == page.count("<main>") == 1
    assert all(meaning in page for meaning in MEANING.values())


@pytest.mark.parametrize(
    "text", ['<img src="a.png">', "<style>@import 'x.css';</style>", "<p style='color: url(x)'>"]
)
def test_reference_would_be_noticed(text: str) -> None:
    """Each way to load something from elsewhere is seen by the test above."""
    assert external(text) != []


def test_text_is_escaped(tmp_path: Path) -> None:
    """What a stack calls its workers stays text."""
    ops = history()
    for op in ops:
        op.worker = op.worker and "<script>alert(1)</script>"
    page = write_report(facts_of(ops, Verdict(Code.HOLDS, "<b>PASS</b>")), tmp_path).read_text()
    assert "<script" not in page
    assert "<b>" not in page


def test_nothing_happened(tmp_path: Path) -> None:
    """A run without a single request has a report too, which says that it proves nothing."""
    verdict = Verdict(
        Code.PROVES_NOTHING, "FAIL", ((Code.PROVES_NOTHING, "no login ever succeeded"),)
    )
    page = write_report(facts_of([], verdict), tmp_path).read_text()
    assert "no: 0 requests were answered" in page
    assert "no login ever succeeded" in page


def test_drawn_again(broken_run: Path, tmp_path: Path) -> None:
    """The stored facts alone give the same page again."""
    shutil.copy(broken_run / "report.json", tmp_path)
    assert main([str(tmp_path)]) == 0
    assert (tmp_path / "report.html").read_text() == (broken_run / "report.html").read_text()


def test_nothing_to_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no run was, the command says so."""
    assert main([str(tmp_path)]) == 2
    assert "no report of a finished run" in capsys.readouterr().err


def test_workers_look_different() -> None:
    """Colour and hatching together tell 32 workers apart, and dark text is readable on the hop map."""
    looks = {(look["facecolor"], look["hatch"]) for look in pictures._looks(32)}
    assert len(looks) == 32
    darkest = pictures.matplotlib.colormaps["Blues"](0.5)
    assert contrast(pictures.INK, pictures.matplotlib.colors.to_hex(darkest)) >= LEAST_TEXT


def test_run_leaves_a_report(tmp_path: Path) -> None:
    """A real run ends with a report whose figures are those of its stored history."""
    with double("none") as host:
        run = load(host, tmp_path, *SHORT, "--report", "1")
    stored = json.loads((tmp_path / "report.json").read_text())
    workers = Counter(op.worker for op in read_ops(tmp_path / "history.jsonl") if op.worker)
    assert f"Report: {tmp_path / 'report.html'}" in run.printed
    assert stored["workers"] == workers
    assert stored["sentence"] == run.printed.splitlines()[-1]
    assert [row["reasons"] for row in stored["gates"]] == [[]] * 5
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "hops.png", "latency.png", "over-time.png", "overview.png", "workers.png",
    }  # fmt: skip
