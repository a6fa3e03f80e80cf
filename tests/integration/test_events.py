"""GET /events and POST /api/alerts, over several workers that share one Redis."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import httpx
import pytest

from app.settings import COOKIE_NAME
from lab.testbed.monitor import Monitor
from lab.testbed.servers import Place, RedisServer
from lab.testbed.workers import ROOT, SECRET, Worker, clean_environment
from tests.integration.conftest import NewVisitor, StartWorkers
from tests.integration.listening import SOON_SECONDS, Stream
from tests.integration.visitor import Visitor

Listen = Callable[[Visitor, Worker], Awaitable[Stream]]


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    """Opens a stream that the test may leave open."""
    async with AsyncExitStack() as streams:

        async def listen(visitor: Visitor, worker: Worker) -> Stream:
            return await streams.enter_async_context(Stream(visitor, worker))

        yield listen


async def visit(visitor: Visitor, worker: Worker, op: str) -> int:
    answer = await visitor.post(worker, "/api/visits", json={"op": op})
    assert answer.status_code == 200
    return int(answer.json()["visits"])


# ---- what is heard


async def test_begins(workers: list[Worker], visitor: Visitor, listen: Listen) -> None:
    """A stream names its worker and the state of the session first, and no cache may keep it."""
    await visit(visitor, workers[1], "one")
    stream = await listen(visitor, workers[0])
    await stream.until(lambda: len(stream.events) == 2)
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["cache-control"] == "no-store"
    assert stream.headers["x-served-by"] == workers[0].name
    assert stream.named("hello")[0]["worker"] == workers[0].name
    assert stream.named("session") == [{"visits": 1, "version": 2}]


@pytest.mark.parametrize("cookie", [None, "forged"])
async def test_needs_a_session(
    workers: list[Worker], new_visitor: NewVisitor, cookie: str | None
) -> None:
    """Without a session there is no stream and no alert: 401."""
    visitor = new_visitor()
    visitor.cookie = cookie
    answer = await visitor.get(workers[0], "/events")
    assert (answer.status_code, answer.headers["Content-Type"][:16]) == (401, "application/json")
    assert (await visitor.post(workers[0], "/api/alerts", json={"text": "x"})).status_code == 401


async def test_changes_are_heard_everywhere(
    workers: list[Worker], visitor: Visitor, new_visitor: NewVisitor, listen: Listen
) -> None:
    """A visit or a write on one worker is told on streams of both, to that session and no other."""
    here, there = await listen(visitor, workers[0]), await listen(visitor, workers[1])
    other = await new_visitor().logged_in(workers[0])
    foreign = await listen(other, workers[0])
    assert await visit(visitor, workers[1], "a") == 1
    await visitor.put(workers[0], "k", "v")
    for stream in (here, there):
        await stream.until(lambda stream=stream: len(stream.named("session")) == 3, SOON_SECONDS)
        assert stream.named("session")[1:] == [
            {"visits": 1, "version": 2},
            {"visits": 1, "version": 3},
        ]
    assert len(foreign.named("session")) == 1


async def test_a_repeated_visit_is_not_told(
    workers: list[Worker], visitor: Visitor, listen: Listen
) -> None:
    """A repeated operation raises nothing, so nothing is told; fifty visits are told in their order."""
    stream = await listen(visitor, workers[0])
    for _ in range(3):
        await visit(visitor, workers[1], "same")
    await asyncio.gather(*(visit(visitor, workers[n % 2], f"op {n}") for n in range(49)))
    await stream.until(lambda: stream.named("session")[-1]["visits"] == 50)
    assert [told["visits"] for told in stream.named("session")] == list(range(51))


async def test_alerts_reach_everybody(
    workers: list[Worker], visitor: Visitor, new_visitor: NewVisitor, listen: Listen
) -> None:
    """An alert is answered 202 and reaches every stream of every user on every worker, markup as text."""
    other = await new_visitor().logged_in(workers[1])
    streams = [await listen(who, worker) for who in (visitor, other) for worker in workers]
    text = "<b>at noon</b>\n\nevent: ended\r\ud83d"
    answer = await visitor.post(workers[1], "/api/alerts", content=json.dumps({"text": text}))
    assert answer.status_code == 202
    for stream in streams:
        await stream.until(lambda stream=stream: stream.named("alert"), SOON_SECONDS)
        told = stream.named("alert")[0]
        assert told["text"] == "<b>at noon</b> event: ended ?"
        assert (told["from"], told["worker"]) == (visitor.user, workers[1].name)
        assert stream.named("ended") == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"{}", b'{"text": 1}', b'{"text": " "}', b'{"text": "%s"}' % (b"x" * 501)],
)
async def test_no_alert(workers: list[Worker], visitor: Visitor, body: bytes) -> None:
    """An alert without a text, or with more than 500 characters, is refused: 400."""
    answer = await visitor.post(workers[0], "/api/alerts", content=body)
    assert answer.status_code == 400


# ---- how it ends


async def administrator(visitor: Visitor, worker: Worker, place: Place) -> None:
    own = {"SESSION_SECRETS": SECRET, "STACK_DIR": str(worker.log_path.parent)}
    settings = clean_environment(REDIS_URL=place.url, **own)
    command = [sys.executable, "-m", "app.end_sessions", visitor.user]
    await asyncio.to_thread(subprocess.run, command, env=settings, cwd=ROOT, check=True)


async def one_device(visitor: Visitor, worker: Worker, place: Place) -> None:
    devices = (await visitor.get(worker, "/api/devices")).json()["devices"]
    (ref,) = [device["ref"] for device in devices if device["current"]]
    await (await another(visitor, worker)).post(worker, f"/devices/{ref}/end")


async def other_devices(visitor: Visitor, worker: Worker, place: Place) -> None:
    await (await another(visitor, worker)).post(worker, "/devices/end-others")


async def all_devices(visitor: Visitor, worker: Worker, place: Place) -> None:
    await visitor.post(worker, "/devices/end-all")


async def logout(visitor: Visitor, worker: Worker, place: Place) -> None:
    await visitor.post(worker, "/logout")


async def login_again(visitor: Visitor, worker: Worker, place: Place) -> None:
    await visitor.log_in(worker, visitor.user)


async def somebody_else(visitor: Visitor, worker: Worker, place: Place) -> None:
    await visitor.log_in(worker, "somebody else")


async def too_many(visitor: Visitor, worker: Worker, place: Place) -> None:
    for _ in range(5):
        await another(visitor, worker)


async def another(visitor: Visitor, worker: Worker) -> Visitor:
    """The same user on another device."""
    device = Visitor(visitor.http)
    await device.log_in(worker, visitor.user)
    return device


ENDS = {
    administrator: "administrator",
    one_device: "device",
    other_devices: "device",
    all_devices: "device",
    logout: "logout",
    login_again: "login",
    somebody_else: "login",
    too_many: "limit",
}


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
async def test_the_end_is_heard(
    workers: list[Worker],
    visitor: Visitor,
    shared_single: Place,
    listen: Listen,
    end: Callable[[Visitor, Worker, Place], Awaitable[None]],
) -> None:
    """However a session ends, on whichever worker: its streams on all workers say why and close within a second."""
    streams = [await listen(visitor, worker) for worker in (*workers, workers[0])]
    await end(visitor, workers[1], shared_single)
    done = time.monotonic()
    for stream in streams:
        assert await stream.over() == ENDS[end]
        assert stream.ended_at is not None
        assert stream.ended_at - done < SOON_SECONDS


async def test_only_that_session_ends(
    workers: list[Worker], visitor: Visitor, listen: Listen
) -> None:
    """Ending the others leaves the stream of this session open."""
    device = await another(visitor, workers[0])
    mine, theirs = await listen(visitor, workers[0]), await listen(device, workers[0])
    await visitor.post(workers[1], "/devices/end-others")
    assert await theirs.over() == "device"
    await visit(visitor, workers[1], "still here")
    await mine.until(lambda: mine.named("session")[-1]["visits"] == 1)


async def test_expiry_is_heard(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor, listen: Listen
) -> None:
    """An open stream keeps no session alive; when the session runs out, the stream says so within a second."""
    (worker,) = start_workers(
        shared_single.url, SESSION_IDLE_SECONDS="1.5", EVENTS_HEARTBEAT_SECONDS="0.2"
    )
    visitor = await new_visitor().logged_in(worker)
    began = time.monotonic()
    stream = await listen(visitor, worker)
    assert await stream.over(1.5 + SOON_SECONDS) == "expired"
    assert stream.ended_at is not None
    assert 1 < stream.ended_at - began < 1.5 + SOON_SECONDS
    assert stream.beats >= 4


async def test_use_elsewhere_moves_the_end(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor, listen: Listen
) -> None:
    """A session used through other requests goes on, and the stream tells of the later deadline."""
    (worker,) = start_workers(
        shared_single.url, SESSION_IDLE_SECONDS="3", EVENTS_HEARTBEAT_SECONDS="0.2"
    )
    visitor = await new_visitor().logged_in(worker)
    stream = await listen(visitor, worker)
    await asyncio.sleep(2)
    assert await visitor.knows_me(worker)
    await asyncio.sleep(1.7)
    assert stream.ended_at is None
    (told,) = [told for told in stream.named("session") if "idle_expires_in" in told]
    assert 2 < told["idle_expires_in"] <= 3


async def test_renewal_goes_on(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor, listen: Listen
) -> None:
    """A stream outlives the renewal of the session's id, and hears the changes and the end after it."""
    both = start_workers(
        shared_single.url, 2, SESSION_RENEW_SECONDS="1.1", SESSION_RENEW_GRACE_SECONDS="1",
        EVENTS_HEARTBEAT_SECONDS="30",
    )  # fmt: skip
    visitor = await new_visitor().logged_in(both[0])
    streams = [await listen(visitor, worker) for worker in both]
    await asyncio.sleep(1.2)
    renewed = await visitor.get(both[1], "/api/session")
    visitor.cookie = renewed.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    await asyncio.sleep(1.1)  # the old id is dead now
    await visit(visitor, both[0], "new id")
    for stream in streams:
        await stream.until(lambda stream=stream: stream.named("session")[-1]["visits"] == 1)
    await visitor.post(both[0], "/logout")
    assert [await stream.over() for stream in streams] == ["logout", "logout"]


# ---- what may go wrong


def cut(server: RedisServer) -> None:
    """Break the pub/sub link and only that: no worker may subscribe."""
    server.admin.execute_command("ACL", "SETUSER", "default", "-subscribe")
    server.admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


def mend(server: RedisServer) -> None:
    server.admin.execute_command("ACL", "SETUSER", "default", "+subscribe")


async def test_without_pubsub_the_heartbeat_notices(
    server: RedisServer, start_workers: StartWorkers, new_visitor: NewVisitor, listen: Listen
) -> None:
    """With pub/sub down a visit and a logout are still noticed at the next heartbeat."""
    both = start_workers(server.url, 2, EVENTS_HEARTBEAT_SECONDS="0.5")
    visitor = await new_visitor().logged_in(both[0])
    stream = await listen(visitor, both[0])
    cut(server)
    await visit(visitor, both[1], "unheard")
    await stream.until(lambda: stream.named("session")[-1]["visits"] == 1, 1)
    late = await listen(visitor, both[1])
    assert late.named("hello")[0]["subscribed"] is False
    await visitor.post(both[1], "/logout")
    assert [await stream.over(1.5), await late.over(1.5)] == ["ended", "ended"]


async def test_pubsub_is_what_makes_it_prompt(
    server: RedisServer, start_workers: StartWorkers, new_visitor: NewVisitor, listen: Listen
) -> None:
    """With pub/sub down and no heartbeat near, a logout is not noticed within a second; when the link is back, it is."""
    both = start_workers(server.url, 2, EVENTS_HEARTBEAT_SECONDS="60")
    visitor = await new_visitor().logged_in(both[0])
    stream = await listen(visitor, both[0])
    cut(server)
    await visitor.post(both[1], "/logout")
    with pytest.raises(TimeoutError):
        await stream.over()
    mend(server)
    assert await stream.over(3) == "ended"


async def test_streams_learn_that_others_are_heard_again(
    server: RedisServer, start_workers: StartWorkers, new_visitor: NewVisitor, listen: Listen
) -> None:
    """Streams from before and during an outage of pub/sub say that others' changes arrive late, and later at once."""
    (worker,) = start_workers(server.url, 1)
    visitor = await new_visitor().logged_in(worker)
    early = await listen(visitor, worker)
    cut(server)
    await early.until(lambda: len(early.named("hello")) == 2, 3)
    stream = await listen(visitor, worker)
    mend(server)
    await stream.until(lambda: len(stream.named("hello")) == 2, 3)
    assert [hello["subscribed"] for hello in stream.named("hello")] == [False, True]
    await early.until(lambda: len(early.named("hello")) == 3, 3)
    assert [hello["subscribed"] for hello in early.named("hello")] == [True, False, True]
    assert early.ended_at is None


@pytest.mark.parametrize("outage", ["stopped", "frozen"])
async def test_redis_away(
    server: RedisServer,
    start_workers: StartWorkers,
    new_visitor: NewVisitor,
    listen: Listen,
    outage: str,
) -> None:
    """Redis away closes no stream and heartbeats go on; when it is back, what happened is noticed."""
    (worker,) = start_workers(server.url, 1, EVENTS_HEARTBEAT_SECONDS="0.2")
    visitor = await new_visitor().logged_in(worker)
    stream = await listen(visitor, worker)
    server.stop() if outage == "stopped" else server.freeze()
    before = stream.beats
    await asyncio.sleep(1.2)
    assert stream.ended_at is None
    assert stream.beats - before >= 3
    assert (await visitor.get(worker, "/events")).status_code == 503
    if outage == "stopped":
        server.start()  # it has forgotten everything
        assert await stream.over(4) == "ended"
    else:
        server.thaw()
        await visit(visitor, worker, "after")
        await stream.until(lambda: stream.named("session")[-1]["visits"] == 1)


async def test_a_drain_sends_browsers_on(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor, listen: Listen
) -> None:
    """A worker that drains tells its streams to reconnect, ends them properly, and is gone as fast as without."""
    both = start_workers(shared_single.url, 2)
    visitor = await new_visitor().logged_in(both[0])
    streams = [await listen(visitor, both[0]) for _ in range(5)]
    assert both[0].in_flight() == 0
    both[0].terminate()
    for stream in streams:
        await stream.until(lambda stream=stream: stream.ended_at is not None)
        assert stream.events[-1][0] == "reconnect"
    assert await asyncio.to_thread(both[0].wait, 3) == 0
    assert "cut off" not in both[0].log
    again = await listen(visitor, both[1])
    assert again.named("hello")[0]["worker"] == both[1].name


async def test_streams_move(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor, listen: Listen
) -> None:
    """On SIGUSR1 the streams there are end one after the other, to come again; the worker goes on."""
    (worker,) = start_workers(shared_single.url, 1)
    visitors = [new_visitor() for _ in range(4)]
    for visitor in visitors:
        await visitor.log_in(worker)
    streams = [await listen(visitor, worker) for visitor in visitors for _ in range(16)]
    worker.signal(signal.SIGUSR1)
    for stream in streams:
        await stream.until(lambda stream=stream: stream.ended_at is not None)
        assert stream.events[-1] == ("reconnect", {"within_ms": 2000})
    ends = sorted(stream.ended_at or 0 for stream in streams)
    assert ends[-1] - ends[0] > 0.25  # 64 streams at 150 a second take four pauses of a tenth
    again = await listen(visitors[0], worker)
    worker.signal(signal.SIGUSR1)
    await again.until(lambda: again.ended_at is not None)
    assert worker.readiness() == 200


async def test_a_slow_reader_is_dropped(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor, listen: Listen
) -> None:
    """Who does not read is cut off once the buffers are full; other streams hear everything meanwhile."""
    (worker,) = start_workers(shared_single.url, 1)
    visitor = await new_visitor().logged_in(worker)
    stream = await listen(visitor, worker)
    slow = socket.create_connection(("127.0.0.1", worker.port))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.sendall(
        f"GET /events HTTP/1.1\r\nHost: x\r\nCookie: {COOKIE_NAME}={visitor.cookie}\r\n\r\n".encode()
    )
    while worker.metric("event_streams") < 2:
        await asyncio.sleep(0.01)
    sent = 0
    alert = '{"text":"%s","from":"ann","worker":"w"}' % ("x" * 50_000)
    while worker.metric("event_streams") == 2:
        assert sent < 400, "20 MB wait for one reader"
        shared_single.admin.publish("alerts", alert)
        sent += 1
        if sent % 20 == 0:
            await stream.until(lambda: len(stream.named("alert")) == sent)  # noqa: B023
    slow.close()
    assert sent > 1
    assert await visitor.knows_me(worker)
    await stream.until(lambda: len(stream.named("alert")) == sent)


async def test_browsers_that_go_are_forgotten(workers: list[Worker], visitor: Visitor) -> None:
    """A stream that the browser closes leaves nothing behind: no stream, no channel in Redis."""
    before = workers[0].metric("event_streams")
    async with Stream(visitor, workers[0]):
        assert workers[0].metric("event_streams") == before + 1
    async with asyncio.timeout(2):
        while workers[0].metric("event_streams") != before:
            await asyncio.sleep(0.01)


async def test_nonsense_on_the_channels(
    workers: list[Worker], visitor: Visitor, shared_single: Place, listen: Listen
) -> None:
    """Messages that no worker of ours sends change nothing and stop nothing."""
    stream = await listen(visitor, workers[0])
    channels = list(shared_single.admin.pubsub_channels("session:*"))
    for channel in ("alerts", *channels):
        for message in (b"", b"\xff", b"{}", b"[1]", b"changed", b"changed x y z", b"ended a b c"):
            shared_single.admin.publish(channel, message)
    await visit(visitor, workers[1], "after")
    await stream.until(lambda: stream.named("session")[-1]["visits"] == 1)
    assert stream.named("alert") == stream.named("ended") == []


# ---- what it costs


async def test_one_subscription_a_worker(
    server: RedisServer, start_workers: StartWorkers, new_visitor: NewVisitor, listen: Listen
) -> None:
    """Many streams of many sessions: one pub/sub connection a worker, and no session id in Redis' channels."""
    both = start_workers(server.url, 2)
    visitors = [new_visitor() for _ in range(10)]
    for visitor in visitors:
        await visitor.log_in(both[0])
        for worker in both:
            await listen(visitor, worker)
    assert len(server.admin.client_list(_type="pubsub")) == 2
    channels = b" ".join(server.admin.pubsub_channels("*"))
    assert channels.count(b"session:") == 10
    for visitor in visitors:
        assert visitor.cookie is not None
        session_id = visitor.cookie.split("|")[-2].partition(":")[2]
        assert session_id.encode() not in channels


async def test_publishing_is_free(
    workers: list[Worker], visitor: Visitor, shared_single: Place, listen: Listen
) -> None:
    """With streams open a visit costs two commands as without, and opening one costs two and a subscription."""
    await visit(visitor, workers[0], "warm")
    await listen(visitor, workers[0])
    await asyncio.sleep(0.1)
    with Monitor(shared_single) as asked:
        await listen(visitor, workers[1])
        await asyncio.sleep(0.1)
    assert [one.name for one in asked.from_clients] == ["EVALSHA", "SUBSCRIBE", "EVALSHA"]
    with Monitor(shared_single) as asked:
        await visit(visitor, workers[0], "counted")
        await asyncio.sleep(0.1)
    assert [one.name for one in asked.from_clients] == ["EVALSHA", "EVALSHA"]
    assert [one.name for one in asked.from_scripts].count("PUBLISH") == 1


async def test_an_idle_stream_costs_a_look(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor, listen: Listen
) -> None:
    """Each heartbeat costs one command a session, however many streams it has, and writes nothing."""
    (worker,) = start_workers(shared_single.url, 1, EVENTS_HEARTBEAT_SECONDS="0.5")
    visitor = await new_visitor().logged_in(worker)
    streams = [await listen(visitor, worker) for _ in range(3)]
    beats = streams[0].beats
    await streams[0].until(lambda: streams[0].beats == beats + 1)
    await asyncio.sleep(0.1)
    with Monitor(shared_single) as asked:
        await streams[0].until(lambda: streams[0].beats == beats + 3)
        await asyncio.sleep(0.1)
    looks = [one for one in asked.from_clients if one.name == "EVALSHA"]
    assert len(looks) in (2, 3)  # the look of the beat before may come late
    assert {one.name for one in asked.from_scripts} == {"HMGET", "TIME", "PTTL"}


async def test_streams_a_session(workers: list[Worker], visitor: Visitor, listen: Listen) -> None:
    """A session has at most 20 streams on a worker; the next is refused with 429."""
    for _ in range(20):
        await listen(visitor, workers[0])
    answer = await visitor.get(workers[0], "/events")
    assert answer.status_code == 429
    assert (await listen(visitor, workers[1])).status == 200


async def test_alerts_a_second(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """A user may send twenty alerts at once, all users of a worker fifty; beyond that 429 says when to come back.

    So one who sends too many takes nothing from the others.
    """
    (worker,) = start_workers(shared_single.url, 1)
    visitors = [new_visitor() for _ in range(4)]
    for visitor in visitors:
        await visitor.log_in(worker)
    taken, began = [], asyncio.get_running_loop().time()
    for visitor in visitors:
        answers: list[httpx.Response] = await asyncio.gather(
            *(visitor.post(worker, "/api/alerts", json={"text": "x"}) for _ in range(60))
        )
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused[0].headers["Retry-After"] == "1"
        taken.append(len(answers) - len(refused))
    took = asyncio.get_running_loop().time() - began
    assert all(20 <= of_one <= 20 + 2 * took + 1 for of_one in taken[:2])
    assert sum(taken) <= 50 + 10 * took + 1
