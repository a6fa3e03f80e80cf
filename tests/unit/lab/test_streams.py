"""Long connections: the stream's parser, what is said about a bottleneck, and goals on known figures."""

import asyncio
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.paths import ROOT
from lab.settings import WrongSetting
from lab.streams import bottleneck, faults
from lab.streams.generators import Counts
from lab.streams.pool import MOST_BACKOFF_SECONDS, StreamPool, backoff_seconds
from lab.streams.results import RELOAD, Fault, Found, Probe, Step, as_json, goals
from lab.streams.settings import MOST, read_settings
from lab.streams.stream import ClientStream, request_to
from lab.streams.table import render
from loadtest.verdict.verdict import Code
from tests.unit.loadtest.runs import double

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(text: str) -> bytes:
    """One chunk of a chunked response."""
    return b"%x\r\n%b\r\n" % (len(text), text.encode())


HELLO = chunk('retry: 1500\n\nevent: hello\ndata: {"worker":"w1"}\n\n')
ALERT = chunk('event: alert\ndata: {"text":"mark-7"}\n\n')
LAST = chunk('event: ended\ndata: {"reason":"logout"}\n\n') + b"0\r\n\r\n"


class Notes:
    """Writes down what a stream tells."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def opened(self, stream: ClientStream) -> None:
        self.said.append("opened")

    def refused(self, stream: ClientStream, status: int) -> None:
        self.said.append(f"refused {status}")

    def received(self, stream: ClientStream, event: str, data: str) -> None:
        self.said.append(f"{event} {data}")

    def lost(self, stream: ClientStream) -> None:
        self.said.append("lost")


def told(*pieces: bytes) -> tuple[list[str], ClientStream]:
    """What a stream tells when it receives these pieces."""
    notes = Notes()
    stream = ClientStream(notes, request_to("h"), "sid=1")
    for piece in pieces:
        stream.data_received(piece)
    return notes.said, stream


WHOLE = ["opened", 'hello {"worker":"w1"}', 'alert {"text":"mark-7"}', 'ended {"reason":"logout"}']


def test_events_are_heard() -> None:
    """Each event is heard once with its data, and the pause before a reconnect is learnt."""
    said, stream = told(HEAD + HELLO, ALERT, LAST)
    assert said == WHOLE
    assert stream.retry_ms == 1500


def test_pieces_make_no_difference() -> None:
    """The same bytes one by one say the same."""
    text = HEAD + HELLO + chunk(":\n\n") + ALERT + LAST
    assert told(*(text[n : n + 1] for n in range(len(text))))[0] == WHOLE


def test_refusal() -> None:
    """Another status is a refusal, and so is what is not HTTP."""
    assert told(b"HTTP/1.1 429 Too Many Requests\r\n\r\n{}")[0] == ["refused 429"]
    assert told(b"nonsense\r\n")[0] == ["refused 599"]


@asynccontextmanager
async def server(
    answer: Callable[[int], bytes], writers: list[asyncio.StreamWriter] | None = None
) -> AsyncIterator[str]:
    """Answers the n-th connection with `answer(n)` and leaves it open; yields the address."""
    connected = writers if writers is not None else []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(writer)
        writer.write(answer(len(connected)))
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


QUICK_RETRY = HEAD + chunk("retry: 10\n\n")


async def test_lost_streams_come_back() -> None:
    """A stream that the server ends is opened again, and counted as lost and as connected."""
    async with server(lambda n: QUICK_RETRY + (LAST if n <= 3 else b"")) as url:
        pool = StreamPool(url, "")
        await pool.open(["sid=1"] * 3, 5)
        while (await pool.state())["lost"] < 3:
            await asyncio.sleep(0.01)
        state = await pool.settled(5)
        await pool.close()
    assert (state["open"], state["lost"]) == (3, 3)
    assert sum(state["connects"].values()) == 6
    assert state["longest_away"] >= 0.01


async def test_deliveries_are_counted() -> None:
    """Only alerts with the mark that is expected count, each stream once."""
    writers: list[asyncio.StreamWriter] = []
    async with server(lambda n: HEAD + HELLO, writers) as url:
        pool = StreamPool(url, "")
        await pool.open(["sid=1"] * 2, 5)
        await pool.expect("mark-7")
        writers[0].write(ALERT)
        writers[0].write(chunk('event: alert\ndata: {"text":"mark-8"}\n\n'))
        half = await pool.delivered(0.2)
        writers[1].write(ALERT)
        whole = await pool.delivered(0.2)
        await pool.close()
    assert (len(half["at"]), len(whole["at"]), whole["open"]) == (1, 2, 2)


async def test_refusals_are_told() -> None:
    """What a server refuses is counted by status, and a closed port by name."""
    async with server(lambda n: b"HTTP/1.1 429 No\r\n\r\n") as url:
        pool = StreamPool(url, "")
        state = await pool.open(["sid=1"], 0.2)
        await pool.close()
    assert state["refused"] == {"status 429": 1}
    assert (sum(state["tried"].values()), state["connects"]) == (1, {})
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    pool = StreamPool(f"http://127.0.0.1:{port}", "")
    state = await pool.open(["sid=1"], 0.2)
    await pool.close()
    assert state["refused"] == {"connection refused": 1}


def test_rates() -> None:
    """The pace is that of 99 % of the streams, the peak that of the half second with most tries."""
    made = Counter({10: 400, 11: 600, 12: 500, 90: 1})
    counts = Counts(tried=Counter({9: 300, 10: 600, 11: 600, 12: 1}), connects=made)
    assert counts.rate == pytest.approx(1000)
    assert counts.peak_rate == 1200
    assert Counts().rate == 0


# Limits


@pytest.mark.parametrize(
    ("refused", "files", "said"),
    [
        ({"status 500": 9}, {"nginx": (19_990, 20_000)}, "raise NGINX_PROCESSES"),
        ({"status 500": 9}, {"nginx": (900, 20_000)}, "worker_connections of all nginx processes"),
        ({}, {"worker": (19_990, 20_000)}, "add workers to nginx/upstream.conf"),
        ({"no local port left": 5}, {}, "net.ipv4.ip_local_port_range"),
        ({"no file left in the generator": 5}, {}, "ulimit -Hn"),
        ({"status 429": 3}, {}, "limit of streams a session"),
        ({}, {}, "time: 5 of 10 streams"),
    ],
)
def test_limit_is_named(
    refused: dict[str, int], files: dict[str, tuple[int, int]], said: str
) -> None:
    """Whatever stops a run, the report says which limit it was and what to raise."""
    counts = Counts(open=5, wanted=10, refused=Counter(refused))
    assert said in bottleneck.why_stopped(counts, files, 10)


def test_memory_is_looked_at_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that would not fit into the machine's memory is not begun."""
    monkeypatch.setattr(bottleneck, "available_bytes", lambda: 2**30)
    assert bottleneck.memory_for(1000) == ""
    assert "choose a smaller N" in bottleneck.memory_for(20_000)


# Goals

PROBE = Probe(asked=360, failed=0, unknown=0, p50=2.0, p99=10.0, windows=[9.0, 10.0, 11.0])
STEP = Step(
    18_000, 900.0, {"worker": 12_288.0, "nginx": 20_480.0, "redis": 0.0}, PROBE, 0.5, 1.5, 0, 0.1
)
FAULT = Fault("SIGKILL of a worker", True, 4500, 9.0, 5.0, 800.0, [400], {}, True, PROBE, {})
RELOADED = replace(FAULT, name=RELOAD, cuts_writes=False, memory={"worker": 310 * 2**20})
FOUND = Found(
    wanted=18_000,
    zero=PROBE,
    zero_again=PROBE,
    steps=[STEP],
    faults=[FAULT],
    memory_full={"worker": 300 * 2**20},
    memory_before={"worker": 100 * 2**20},
    memory_after={"worker": 145 * 2**20},
)


def test_second_time_is_compared() -> None:
    """After a reload, which closes every stream, the workers' memory is set beside the first time."""
    text = render(replace(FOUND, faults=[RELOADED]))
    assert "met     as many streams a second time take no more memory of the workers" in text
    assert "300.0 to 310.0 MiB" in text


def missed(found: Found) -> list[str]:
    return [goal.text for goal in goals(found) if not goal.met]


def test_all_goals_met() -> None:
    """Figures within every goal miss none, and the text names each figure."""
    assert missed(FOUND) == []
    text = render(FOUND)
    assert "MISSED" not in text
    assert "18,000 held" in text
    assert "100.0 to 145.0 MiB" in text


@pytest.mark.parametrize(
    ("worse", "said"),
    [
        (replace(FOUND, wanted=36_000), "36,000 streams"),
        (replace(FOUND, steps=[replace(STEP, probe=replace(PROBE, p99=21))]), "at most 2 times"),
        (replace(FOUND, steps=[replace(STEP, delivery_p99=2.5)]), "p99 within 2 s"),
        (replace(FOUND, steps=[replace(STEP, missed=1)]), "p99 within 2 s"),
        (replace(FOUND, steps=[replace(STEP, logout_seconds=1.5)]), "logout closes"),
        (replace(FOUND, faults=[replace(FAULT, all_back=False)]), "SIGKILL"),
        (replace(FOUND, faults=[replace(FAULT, refused={"status 401": 1})]), "SIGKILL"),
        (replace(FOUND, faults=[replace(FAULT, probe=replace(PROBE, failed=1))]), "SIGKILL"),
        (
            replace(
                FOUND, faults=[replace(FAULT, cuts_writes=False, probe=replace(PROBE, unknown=1))]
            ),
            "SIGKILL",
        ),
        (replace(FOUND, memory_after={"worker": 160 * 2**20}), "memory of worker"),
        (
            replace(FOUND, faults=[replace(RELOADED, memory={"worker": 350 * 2**20})]),
            "a second time",
        ),
        (replace(FOUND, violations=1), "no session is ever wrong"),
    ],
)
def test_missed_goal_is_called_missed(worse: Found, said: str) -> None:
    """Each figure beyond its goal misses that goal and no other."""
    [text] = missed(worse)
    assert said in text
    assert "MISSED" in render(worse)
    assert [goal["met"] for goal in as_json(worse)["goals"]].count(False) == 1


@pytest.mark.parametrize(
    ("again", "at_the_step", "met"),
    [(15.0, 21.0, True), (15.0, 27.0, False), (30.0, 21.0, None), (30.0, 90.0, None)],
)
def test_noise_decides_nothing(again: float, at_the_step: float, met: bool | None) -> None:
    """p99 is set beside both measurements without streams; where those two differ, it says so instead."""
    after = replace(PROBE, p99=again, windows=[again] * 3)
    step = replace(STEP, probe=replace(PROBE, p99=at_the_step))
    found = replace(FOUND, zero_again=after, steps=[step])
    [goal] = [goal for goal in goals(found) if "at most 2 times" in goal.text]
    assert goal.met is met
    assert f"the same without streams twice: {again / 10:.2f}" in goal.measured
    assert ("unsure  normal requests" in render(found)) is (met is None)


def test_a_killed_workers_write_may_be_cut_off() -> None:
    """A SIGKILL cuts off what the worker was writing: stated, and no harm to a goal."""
    cut = replace(FOUND, faults=[replace(FAULT, probe=replace(PROBE, unknown=1))])
    assert missed(cut) == []
    assert "1 were cut off" in render(cut)


def test_refusals_are_waited_for_longer_each_time() -> None:
    """The pause after refusals doubles and is a matter of chance, so that nobody comes back in step."""
    for tries, longest in ((1, 2.0), (2, 4.0), (3, 8.0), (9, MOST_BACKOFF_SECONDS)):
        pauses = [backoff_seconds(tries) for _ in range(200)]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest
        assert len(set(pauses)) > 100


# Settings


def test_steps() -> None:
    """The steps end with N, and there are generator processes enough for it."""
    assert read_settings({}).steps == (1_500, 6_000, 10_000, 18_000, MOST)
    assert len(read_settings({"HOST": "http://127.0.0.1:1"}).sources) == 4
    assert read_settings({"N": "7000"}).steps == (1_500, 6_000, 7_000)
    assert read_settings({"QUICK": "1"}).steps == (300,)


@pytest.mark.parametrize("wrong", [{"N": "5"}, {"N": "many"}, {"HOST": "https://h"}])
def test_wrong_setting_is_named(wrong: dict[str, str]) -> None:
    """A setting that cannot be used is refused, by name."""
    [name] = wrong
    with pytest.raises(WrongSetting, match=f"{name}="):
        read_settings(wrong)


def test_a_stack_without_streams_is_refused(tmp_path: Path) -> None:
    """Where there are no event streams nothing is measured: exit code 14 at once, and the path."""
    with double("none") as host:
        done = subprocess.run(
            [sys.executable, "-m", "lab", "streams"],
            env={**os.environ, "HOST": host, "N": "300", "OUT": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == Code.NOT_REACHABLE, done.stdout
    assert done.stderr == "error: HEAD /events answered 404, not 200\n"


def test_no_worker_to_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all workers are on other hosts the fault says so; a name that is no action lists those there are."""
    upstream = tmp_path / "upstream.conf"
    shipped = (ROOT / "nginx/upstream.conf").read_text()
    upstream.write_text(shipped.replace("server app:", "server 192.0.2.1:"))
    monkeypatch.setenv("STACK_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("UPSTREAM_CONF", str(upstream))
    monkeypatch.setenv("ENV_FILE", "")
    assert (
        faults.main(["kill-worker"])
        == f"error: no worker of {upstream} runs here: none can be killed"
    )
    assert faults.main([]) == "one of: pids, reload, rolling-restart, kill-worker"
