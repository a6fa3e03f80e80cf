"""The nemesis: its schedule, what it counts as lost or unavailable, and that its judgement can fail."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from deploy.paths import ROOT
from deploy.refused import Refused
from lab.hosts.network import Host
from lab.hosts.store import client
from lab.hosts.topology import Hosts
from lab.mutants.stack import with_database
from lab.nemesis import nemesis
from lab.nemesis.availability import measure
from lab.nemesis.controls import CONTROLS, IN_CI, complaint
from lab.nemesis.faults import FAULTS
from lab.nemesis.judge import LIMITS, Judgement, judge, missed
from lab.nemesis.losses import without_losses
from lab.nemesis.nemesis import (
    ALL,
    KEPT_RUNS,
    QUICK,
    QUICK_WITHOUT_HOSTS,
    conclude,
    controls,
    possible,
)
from lab.nemesis.one_machine import OneMachine
from lab.nemesis.phases import Phase, Run, store_run
from lab.nemesis.report import verdict
from lab.nemesis.schedule import picked, schedule
from lab.nemesis.several_hosts import SeveralHosts
from lab.nemesis.stage import Store
from lab.settings import WrongSetting
from lab.testbed.servers import free_port
from loadtest.check import offline
from loadtest.check.history import HistoryWriter, read_ops
from loadtest.check.op import Kind, Lifetimes, Op, Outcome

SECOND = 1_000_000_000
EDGES = ("http://one", "http://two")
PHASE = Phase(
    1,
    "master killed",
    "redis-1",
    True,
    10 * SECOND,
    12 * SECOND,
    14 * SECOND,
    18 * SECOND,
    20 * SECOND,
)


def op(
    at: float, kind: Kind, value: int | None = None, outcome: Outcome = Outcome.OK, edge: int = 0,
    session: str = "s", **more: object,
) -> Op:  # fmt: skip
    """A request that is answered a tenth of a second after it was sent, `at` seconds after the start."""
    begun = int(at * SECOND)
    given = {"op": f"{session}-{at}"} if kind is Kind.VISIT else {}
    return Op(
        begun, kind, session, f"user of {session}", begun, begun + SECOND // 10, outcome,
        value=value, status=200, through=EDGES[edge], **{**given, **more},  # type: ignore[arg-type]
    )  # fmt: skip


def login(at: float, session: str = "s") -> Op:
    return op(at, Kind.LOGIN, session=session, cookie=f"cookie of {session}")


def steady(until: float, failing: tuple[float, float] = (0, 0)) -> list[Op]:
    """A read of a visitor through each edge every tenth of a second; those of a span fail."""
    ops = [login(0)]
    for step in range(10, int(until * 10)):
        at = step / 10
        bad = failing[0] <= at < failing[1]
        ops += [
            op(
                at + edge / 100,
                Kind.READ,
                None if bad else 0,
                Outcome.FAIL if bad else Outcome.OK,
                edge,
            )
            for edge in (0, 1)
        ]
    return ops


def kept(folder: Path, ops: list[Op], acknowledged_by: int = 1) -> Path:
    """A stored run with one failover."""
    with HistoryWriter(folder / "history.jsonl", Lifetimes()) as history:
        for one in ops:
            history.write(one)
    store_run(Run(7, acknowledged_by, "a test", EDGES, (PHASE,), ("master killed",)), folder)
    return folder


def test_same_seed_same_schedule() -> None:
    """The seed gives order and choices; another seed gives others."""
    planned = [(e.fault.name, e.random().random()) for e in schedule(FAULTS, 3)]
    assert planned == [(e.fault.name, e.random().random()) for e in schedule(FAULTS, 3)]
    assert [name for name, _ in planned] != [e.fault.name for e in schedule(FAULTS, 4)]
    assert {name for name, _ in planned} == {fault.name for fault in FAULTS}


def test_seconds_bound_the_schedule() -> None:
    """What does not fit is left out; what has room comes again in another order; one happens at least."""
    short, long, least = (schedule(FAULTS, 1, seconds) for seconds in (100, 900, 1))
    assert len(short) < len(FAULTS) < len(long)
    assert long[-1].at + long[-1].fault.takes <= 900
    assert len(least) == 1
    assert len({entry.seed for entry in long}) == len(long)
    assert schedule(ALL, 1)[-1].at < 18 * 60  # the whole takes 20 minutes at most


def test_faults_are_picked_by_the_beginnings_of_their_names() -> None:
    """FAULTS='worker killed, nginx' picks one by its name and all that begin so; an unknown name is refused."""
    assert [fault.name for fault in picked(FAULTS, "worker killed, nginx p")] == [
        "worker killed", "nginx process killed", "nginx process paused",
    ]  # fmt: skip
    assert picked(FAULTS, "") == list(FAULTS)
    with pytest.raises(
        WrongSetting, match="earthquake: there is no such fault; there are worker killed"
    ):
        picked(FAULTS, "earthquake")


def test_quick_is_six_faults() -> None:
    """QUICK=1 has six, in less than three minutes with the start and the end; without hosts six that need none."""
    for names, hosts in ((QUICK, True), (QUICK_WITHOUT_HOSTS, False)):
        faults = list(possible(picked(ALL, names), hosts=hosts))
        assert len(faults) == 6
        assert sum(fault.takes for fault in faults) < 150


def test_without_hosts_their_faults_are_left_out() -> None:
    """One machine has the faults that need no hosts; to ask for none but others is refused."""
    assert list(possible(ALL, hosts=False)) == list(FAULTS)
    with pytest.raises(WrongSetting, match="FAULTS=split brain: needs hosts"):
        list(possible(picked(ALL, "split brain")[:1], hosts=False))


def test_availability_of_a_fault() -> None:
    """Failed requests, the longest silence of each edge, and the time from the healing to the last failure."""
    figures = measure(steady(20, failing=(11, 13)), PHASE, EDGES)
    assert figures.failed == 40
    assert figures.silent == {edge: pytest.approx(2.1, abs=0.15) for edge in EDGES}
    assert figures.back == pytest.approx(1.0, abs=0.15)
    assert measure(steady(20), PHASE, EDGES).back == 0


def test_missed_limit_names_the_fault() -> None:
    """Each limit that is missed is a sentence; a phase with an excuse is judged by its promises alone."""
    measured = [(PHASE, measure(steady(20, failing=(11, 17)), PHASE, EDGES))]
    limits = {PHASE.fault: {"failed_share": 0.1, "silent_seconds": 3, "back_seconds": 1}}
    said = list(missed(measured, limits))
    assert [text.partition(":")[0] for text in said] == ["master killed"] * 3
    assert list(missed([(replace(PHASE, excuse="a vote"), measured[0][1])], limits)) == []


def test_every_fault_has_limits_and_a_paragraph() -> None:
    """limits.toml and docs/nemesis.md name each fault, and no other; controls stand in a table."""
    names = {fault.name for fault in ALL}
    assert set(tomllib.loads(LIMITS.read_text())) == names
    text = (ROOT / "docs/nemesis.md").read_text()
    bold = re.findall(r"^\*\*([a-z ,]+)\.\*\*", text, re.MULTILINE)
    assert {name for names in bold for name in names.split(", ")} == names
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    for control in CONTROLS:
        (row,) = [row for row in rows if row[0].startswith(f"| {control.name}")]
        assert row[1] == control.fault
        assert row[2].startswith(str(control.mutant.named))


def test_violation_names_fault_and_seed(tmp_path: Path) -> None:
    """A read below an acknowledged write is a violation under the fault before it, with the command that repeats it."""
    other = {"session": "other"}
    ops = [
        *steady(20),
        login(1.07, "other"),
        op(10.53, Kind.VISIT, 1, **other),
        op(11.05, Kind.READ, 0, **other),
    ]
    found = judge(kept(tmp_path, sorted(ops, key=lambda one: one.returned)))
    assert not found.passed
    assert "master killed: read your writes is broken 1 times" in verdict(found)
    assert "SEED=7 FAULTS='master killed'" in verdict(found)


def test_what_repeats_a_run() -> None:
    """The command has the seed and all else that decides what happens: targets on one machine are others than on hosts."""
    one = Run(7, 1, OneMachine.name, EDGES, (), ("reload", "scale"))
    assert one.again == "make nemesis SEED=7 HOSTS=0 FAULTS='reload,scale'"
    many = Run(7, 0, SeveralHosts.name, EDGES, (), ("reload",), 600.0)
    assert many.again == (
        "make nemesis SEED=7 SESSION_WRITES_ACKNOWLEDGED_BY=0 SECONDS=600 FAULTS='reload'"
    )


LOST = [
    login(0),
    op(9.5, Kind.VISIT, 1),
    op(10.1, Kind.VISIT, 2),
    op(10.3, Kind.READ, 2),
    op(15, Kind.READ, 1),
]


@pytest.mark.parametrize(("acknowledged_by", "violated"), [(0, False), (1, True)])
def test_lost_write_is_allowed_where_no_replica_was_awaited(
    tmp_path: Path, acknowledged_by: int, violated: bool
) -> None:
    """The same history: with 0 the lost write is counted and nothing else is wrong; with 1 it is a violation."""
    found = judge(kept(tmp_path, LOST, acknowledged_by))
    assert bool(found.violations) == violated
    assert [one.value for one in found.lost.writes] == ([] if violated else [2])


def test_two_masters_at_once(tmp_path: Path) -> None:
    """Both told their clients the same count: with 0 one of them is counted as lost, and nothing else is wrong."""
    ops = [
        login(0),
        op(9, Kind.VISIT, 1),
        op(11, Kind.VISIT, 2),
        op(12, Kind.VISIT, 2),
        op(12.5, Kind.VISIT, 3),
    ]
    found = judge(kept(tmp_path, [*ops, op(16, Kind.READ, 3)], 0))
    assert (found.violations, [one.value for one in found.lost.writes]) == ([], [2])


def test_loss_outside_a_failover_is_no_allowed_one() -> None:
    """What was acknowledged long before the failover, or after it, may not be lost with any setting."""
    early = [login(0), op(1, Kind.VISIT, 1), op(15, Kind.READ, 0)]
    late = [login(0), op(16, Kind.VISIT, 1), op(17, Kind.READ, 0)]
    for ops in (early, late):
        assert without_losses(ops, [PHASE], 0)[1].every() == []


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.OK])
def test_read_of_a_write_that_nobody_acknowledged(outcome: Outcome) -> None:
    """With 1 a read may have shown a write that was never acknowledged and is lost; never one that was."""
    value = 2 if outcome is Outcome.OK else None
    write = op(10.1, Kind.VISIT, value, outcome)
    ops = [login(0), op(9, Kind.VISIT, 1), write, op(10.3, Kind.READ, 2), op(15, Kind.READ, 1)]
    rest, lost = without_losses(ops, [PHASE], 1)
    assert [one.value for one in lost.shown] == ([2] if outcome is Outcome.UNKNOWN else [])
    assert [one.value for one in rest][3] == (None if outcome is Outcome.UNKNOWN else 2)


@pytest.mark.parametrize(("first_sent", "shown"), [(11.0, [1]), (10.2, [])])
def test_read_before_a_repeated_write(first_sent: float, shown: list[int]) -> None:
    """A count that is told again to a write first sent after the read was that of another one, which is lost."""
    lost_one = op(10.1, Kind.VISIT, None, Outcome.UNKNOWN, op="a")
    later = op(first_sent, Kind.VISIT, None, Outcome.UNKNOWN, op="b")
    again = op(12, Kind.REPEAT, 1, op="b")
    ops = [login(0), lost_one, op(10.3, Kind.READ, 1), later, again]
    _, lost = without_losses(ops, [PHASE], 1)
    assert [one.value for one in lost.shown] == shown


def test_version_of_a_write_that_nobody_acknowledged(tmp_path: Path) -> None:
    """Its version may come again for another write; where no write is in doubt that stays a violation."""
    write = op(10.1, Kind.PUT, None, Outcome.UNKNOWN, key="note", sent="1")
    shown = op(10.3, Kind.READ, 0, version=5)
    later = [op(11, Kind.VISIT, 1), op(15, Kind.READ, 1, version=5)]
    found = judge(kept(tmp_path, [login(0), write, shown, *later]))
    assert found.violations == []
    found = judge(kept(tmp_path, [login(0), shown, *later]))
    assert {str(one.invariant) for one in found.violations} == {"version only grows"}


def test_lost_session_is_counted() -> None:
    """A login acknowledged by the master that was lost: its session is unknown afterwards, and counted once."""
    ops = [login(10.1, "new"), op(15, Kind.READ, None, Outcome.DENIED, session="new")]
    rest, lost = without_losses(ops, [PHASE], 0)
    assert (rest, [one.session for one in lost.sessions]) == ([], ["new"])


def test_lost_session_had_ended_another(tmp_path: Path) -> None:
    """A login that was lost had ended the session its browser had before, another user's: that is no phantom logout."""
    other = replace(login(10.1, "new"), replaces="s")
    lost = op(15, Kind.READ, None, Outcome.DENIED, session="new")
    ended = op(15.2, Kind.PROBE, None, Outcome.DENIED)
    assert judge(kept(tmp_path, [login(0), other, lost, ended], 0)).violations == []
    found = judge(kept(tmp_path, [login(0), ended], 0)).violations
    assert [str(one.invariant) for one in found] == ["no phantom logout"]


@pytest.mark.parametrize("acknowledged_by", [0, 1])
def test_undone_logout_is_always_a_violation(tmp_path: Path, acknowledged_by: int) -> None:
    """A session whose logout was acknowledged is answered again: no setting allows that."""
    ops = [login(0), op(10.1, Kind.LOGOUT, cleared=True), op(15, Kind.PROBE, 0)]
    found = judge(kept(tmp_path, ops, acknowledged_by))
    assert [str(one.invariant) for one in found.violations] == ["logout is final"]


def test_run_without_requests_proves_nothing(tmp_path: Path) -> None:
    """A fault that hardly anybody saw is no proof."""
    found = judge(kept(tmp_path, [login(0)]))
    assert "master killed: only 0 requests" in found.sentences()


def test_run_without_any_request_has_a_report(tmp_path: Path) -> None:
    """Nobody could ask for anything, not even log in: that is said and drawn, as of any other run."""
    assert conclude(judge(kept(tmp_path, [])), tmp_path) == 1
    assert "only 0 requests" in (tmp_path / "report.html").read_text()


def test_control_that_is_not_found_is_told(tmp_path: Path) -> None:
    """A control has to be found by its name; anything else is a complaint."""
    found: Judgement = judge(kept(tmp_path, steady(20)))
    assert complaint(CONTROLS[0], found).endswith("found by nothing, not by logout is final")
    undone = [login(0), op(10.1, Kind.LOGOUT, cleared=True), op(15, Kind.PROBE, 0)]
    assert complaint(CONTROLS[0], judge(kept(tmp_path, undone))) == ""


def test_controls_that_are_asked_for() -> None:
    """CONTROLS=1 is the three that CI tries, CONTROLS=all is all, and nothing is none."""
    assert [controls({"CONTROLS": told}) for told in ("", "0", "1", "all")] == [
        (), (), IN_CI, CONTROLS,
    ]  # fmt: skip
    assert all(control.fault in {fault.name for fault in FAULTS} for control in CONTROLS)


def test_foreign_worker_is_named(tmp_path: Path) -> None:
    """Where a worker and the others do not know each other's sessions, a sentence says which one."""
    ops = [one for n in range(24) for one in _visited_by_three(n)]
    found = judge(kept(tmp_path, sorted(ops, key=lambda one: one.returned)))
    said = "c and the others do not know each other's sessions"
    assert any(text.startswith(said) for text in found.sentences())
    foreign = next(control for control in CONTROLS if "key" in control.name)
    assert complaint(foreign, found) == ""
    found.settled = []
    assert complaint(foreign, found).endswith("no sentence says: do not know each other's sessions")


def _visited_by_three(number: int) -> list[Op]:
    """A session of worker a, b or c that each of them is asked for; c knows its own ones only."""
    name, home = f"s{number}", "abc"[number % 3]
    begun = login(1 + number / 10, name)
    begun.worker = home
    asked = []
    for turn, worker in enumerate("abc"):
        known = (worker == "c") == (home == "c")
        read = op(1.2 + number / 10 + turn * 0.21 + 0.01, Kind.READ, 0 if known else None,
                  Outcome.OK if known else Outcome.DENIED, session=name, worker=worker)  # fmt: skip
        asked.append(read)
    return [begun, *asked]


def test_other_database_of_a_server() -> None:
    """It is a parameter of a socket's address, and a part of the path where Sentinels are asked."""
    assert with_database("unix://sessions:x@/run/redis.sock", "1").endswith("redis.sock?db=1")
    asked = "redis+sentinel://u:p@127.0.0.1:1,127.0.0.1:2/mymaster/0?sentinel_password=x"
    assert with_database(asked, "1") == asked.replace("/0?", "/1?")


def test_smallest_history_still_fails(tmp_path: Path) -> None:
    """After a violation the folder also has the few requests that prove it, to be judged again by themselves."""
    broken = [
        login(0.5, "x"),
        op(10.17, Kind.LOGOUT, cleared=True, session="x"),
        op(15.07, Kind.PROBE, 0, session="x"),
    ]
    ops = sorted([*steady(20), *broken], key=lambda one: one.returned)
    assert conclude(judge(kept(tmp_path, ops)), tmp_path) == 1
    assert offline.main([str(tmp_path / "smallest.jsonl")]) == 10
    assert len(list(read_ops(tmp_path / "smallest.jsonl"))) <= 3


def test_oldest_runs_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run has a folder of its own; some are kept, the newest ones, and what else lies there stays."""
    monkeypatch.setattr(nemesis, "RESULTS", tmp_path)
    for day in range(10, 10 + KEPT_RUNS):
        (tmp_path / f"202001{day}-000000-seed1-9/control-0").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    new = nemesis.new_folder(3)
    left = {path.name for path in tmp_path.iterdir()}
    assert {new.name, "notes"} <= left
    assert len(left) == KEPT_RUNS + 1
    assert "20200110-000000-seed1-9" not in left


def test_no_sentinel() -> None:
    """A store of which no Sentinel answers is a problem that is told, not a mistake of the run."""
    store = Store({}, [], cast(Any, None))
    assert store.problems() == ["the store: no Sentinel answers"]


def test_hosts_without_a_sentinel() -> None:
    """Where none answers, nobody knows the master's host: the run ends with that sentence."""
    hosts = Hosts.__new__(Hosts)
    nobody = client(Host("store-1", "127.0.0.1", "no namespace"), free_port())
    hosts.stores = [cast(Any, SimpleNamespace(sentinel=SimpleNamespace(admin=nobody, pid=None)))]
    with pytest.raises(Refused, match="no Sentinel answers"):
        hosts.master()
