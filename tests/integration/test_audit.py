"""Who did what: every security event of a worker, compared with the table of docs/security.md."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from app.accounts import hash_password
from app.audit import NAME
from app.sessions.identity import digest_of
from deploy.paths import ROOT
from lab.testbed.servers import Place
from lab.testbed.workers import SECRET, Worker
from tests.integration.conftest import NewVisitor, StartWorkers
from tests.integration.test_http_cookies import id_in
from tests.integration.visitor import Visitor, new_cookie

IN_ALL = {"time", "event", "worker"}
PASSWORD = "three words of this test"


def documented() -> dict[str, set[str]]:
    """The table: each event with its fields."""
    page = (ROOT / "docs/security.md").read_text().partition("## Who did what")[2]
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]*) \|$", page, re.MULTILINE)
    return {event: set(re.findall(r"`(\w+)`", fields)) for event, fields in rows}


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / NAME).read_text().splitlines()]


def operate(folder: Path, redis_url: str, *words: str, **settings: str) -> None:
    own = {"ENV_FILE": "", "STACK_DIR": str(folder), "REDIS_URL": redis_url}
    subprocess.run(
        [sys.executable, "-m", "deploy", *words],
        cwd=ROOT, env={**os.environ, **own, **settings}, input=f"{PASSWORD}\n", text=True, check=True,
    )  # fmt: skip


def ref_of(visitor: Visitor) -> str:
    assert visitor.cookie is not None
    return digest_of(id_in(visitor.cookie))[:16]


async def post_login(worker: Worker, visitor: Visitor, password: str, **form: str) -> int:
    data = {"username": visitor.user, "password": password, **form}
    answer = await visitor.post(worker, "/login", data=data)
    visitor.cookie = new_cookie(answer) or visitor.cookie
    return answer.status_code


async def test_every_event(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor, tmp_path: Path
) -> None:
    """Each event of the table is written, with exactly the fields that the table names, and no secret in any."""
    url = shared_single.url
    (worker,) = start_workers(url, LOGIN_TRIES="2", SESSION_MAX_PER_USER="2")
    visitor, other, third = new_visitor(), new_visitor(), new_visitor()
    await visitor.log_in(worker, "ann-of-the-log")
    await other.log_in(worker, visitor.user)
    cookies = [visitor.cookie, other.cookie]
    await third.log_in(worker, visitor.user)  # over the cap: the first session ends
    await other.post(worker, f"/devices/{ref_of(third)}/end")
    assert await post_login(worker, other, "demo", again="1") == 302
    assert [await post_login(worker, other, PASSWORD) for _ in range(3)] == [401, 401, 429]
    await other.post(worker, "/logout")
    await visitor.post(worker, "/logout", headers={"Origin": "https://evil.example"})
    await Visitor(visitor.http, "2|1:0|forged").get(worker, "/api/session")
    await third.log_in(worker, visitor.user + "2")
    name = third.user
    for settings in ({}, {}, {"REMOVE": "1"}):
        await asyncio.to_thread(operate, tmp_path, url, "user", name, **settings)
        await third.log_in(worker, name)
    worker.stop()
    written = events(tmp_path)
    fields: dict[str, set[str]] = {}
    for line in written:
        fields.setdefault(line["event"], set()).update(line.keys() - IN_ALL)
    assert fields == documented()
    text = (tmp_path / NAME).read_text()
    for secret in (
        PASSWORD,
        SECRET,
        'demo"',
        *(c for c in cookies if c),
        *(id_in(c) for c in cookies if c),
    ):
        assert secret not in text
    assert ref_of(third) in text
    assert {line["reason"] for line in written if line["event"] == "session_ended"} == {
        "limit", "device", "login", "password", "account",
    }  # fmt: skip
    by = [line["by"] for line in written if line.get("reason") in ("password", "account")]
    assert [one.split()[0] for one in by] == ["operator", "operator"]


async def test_by_whom(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor, tmp_path: Path
) -> None:
    """A session that another device ended is told with both, the request and its address."""
    (worker,) = start_workers(shared_single.url)
    here, there = new_visitor(), new_visitor()
    await here.log_in(worker, "bob-of-the-log")
    await there.log_in(worker, here.user)
    answer = await here.post(worker, "/devices/end-others")
    *before, line = events(tmp_path)
    assert [one["event"] for one in before] == ["start", "login_accepted", "login_accepted"]
    told = {"session": ref_of(there), "by": ref_of(here), "user": here.user, "reason": "device"}
    told |= {"request_id": answer.headers["X-Request-ID"], "address": "127.0.0.1"}
    assert line.items() >= told.items()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


async def test_busy(
    shared_single: Place, start_workers: StartWorkers, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    """A login that no thread could check in time is 503, and is written as delayed and not as refused."""
    users = tmp_path / "users"
    users.write_text(f"cyd:{hash_password(PASSWORD)}\n")
    users.chmod(0o600)
    (worker,) = start_workers(shared_single.url, USERS_FILE=str(users))
    forms = [{"username": f"busy-{number}", "password": "wrong"} for number in range(40)]
    answers = await asyncio.gather(*(http.post(f"{worker.url}/login", data=f) for f in forms))
    busy = {f["username"] for f, a in zip(forms, answers, strict=True) if a.status_code == 503}
    lines = events(tmp_path)[1:]
    delayed = [line for line in lines if line["event"] == "login_delayed"]
    assert 0 < len(busy) < 40
    assert {a.headers["Retry-After"] for a in answers if a.status_code == 503} == {"1"}
    assert {line["user"] for line in delayed} == busy
    assert {(line["reason"], line["seconds"]) for line in delayed} == {("busy", 1)}
    assert {line["user"] for line in lines if line["event"] == "login_refused"}.isdisjoint(busy)


async def test_hostile_name(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor, tmp_path: Path
) -> None:
    """A login whose name holds a line break and a whole event adds one line, which says that it was refused."""
    (worker,) = start_workers(shared_single.url)
    before = len(events(tmp_path))
    visitor = new_visitor()
    visitor.user = 'x\n{"event":"login_accepted"}\x1b[2J' + "y" * 5000
    assert await post_login(worker, visitor, "demo") == 401
    (line,) = events(tmp_path)[before:]
    assert (line["event"], len(line["user"])) == ("login_refused", 101)
