"""Sessions are listed and ended by whoever gave the password lately; everybody else is asked for it again."""

from __future__ import annotations

import time
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from app.handlers.devices import PASSWORD_WITHIN_SECONDS
from app.sessions.identity import digest_of, session_key, tag_of
from app.settings import COOKIE_NAME
from lab.testbed.servers import Place
from lab.testbed.workers import Worker
from tests.integration.conftest import NewVisitor, StartWorkers
from tests.integration.test_http_cookies import id_in
from tests.integration.visitor import Visitor, new_cookie

BREAK_IN = "tests.integration.login_time_in_data"


def logged_in_before(place: Place, visitor: Visitor, seconds: float) -> None:
    """Move the visitor's login into the past, where only the engine can write."""
    assert visitor.cookie is not None
    key = session_key(tag_of(visitor.user), digest_of(id_in(visitor.cookie)))
    created = int(place.admin.hget(key, "created") or 0)
    place.admin.hset(key, "created", created - int(seconds * 1000))


@pytest.fixture
async def visitor(workers: list[Worker], new_visitor: NewVisitor, shared_single: Place) -> Visitor:
    """Somebody whose login is longer ago than the password holds."""
    visitor = await new_visitor().logged_in(workers[0])
    logged_in_before(shared_single, visitor, PASSWORD_WITHIN_SECONDS + 1)
    return visitor


def again(visitor: Visitor, password: str = "demo", next_path: str = "/devices") -> dict[str, str]:
    """The form that asks for the password."""
    return {"username": visitor.user, "password": password, "next": next_path, "again": "1"}


def asked_for(answer: httpx.Response) -> str:
    """Where the visitor goes on after the password, which this answer asks for."""
    where = urlsplit(answer.headers["Location"])
    assert (answer.status_code, where.path, "again=1" in where.query) == (302, "/login", True)
    return parse_qs(where.query)["next"][0]


async def test_not_asked_lately(
    workers: list[Worker], new_visitor: NewVisitor, shared_single: Place
) -> None:
    """Until ten minutes after the login the list is shown and sessions end, as a page and as JSON."""
    visitor = await new_visitor().logged_in(workers[0])
    logged_in_before(shared_single, visitor, PASSWORD_WITHIN_SECONDS - 30)
    for path in ("/devices", "/api/devices"):
        assert (await visitor.get(workers[1], path)).status_code == 200
    ended = await visitor.post(workers[1], "/devices/end-others")
    assert (ended.status_code, ended.headers["Location"]) == (302, "/devices")


async def test_asked_later(
    workers: list[Worker], visitor: Visitor, new_visitor: NewVisitor
) -> None:
    """After that each of these asks for the password first, and nothing ends; the session is good all the same."""
    other = await new_visitor().logged_in(workers[0], visitor.user)
    (ref,) = [
        device["ref"]
        for device in (await other.get(workers[0], "/api/devices")).json()["devices"]
        if device["current"]
    ]
    for method, path in (
        ("GET", "/devices"), ("HEAD", "/devices"), ("GET", f"/devices/{ref}/end"),
        ("POST", f"/devices/{ref}/end"), ("POST", "/devices/end-others"), ("POST", "/devices/end-all"),
    ):  # fmt: skip
        assert asked_for(await visitor.ask(workers[1], method, path)) == path
    answer = await visitor.get(workers[1], "/api/devices")
    assert (answer.status_code, "password" in answer.json()["error"]) == (403, True)
    assert await other.knows_me(workers[1])
    assert await visitor.knows_me(workers[1])


async def test_password_given_again(
    workers: list[Worker], visitor: Visitor, new_visitor: NewVisitor
) -> None:
    """With the password the visitor goes on to the list, under a new id and with all the data; the old id is over."""
    before = new_visitor()
    before.cookie = visitor.cookie
    await visitor.put(workers[0], "note", "kept")
    assert "Your password, once more" in (await visitor.get(workers[0], "/login?again=1")).text
    answer = await visitor.post(workers[0], "/login", data=again(visitor))
    assert (answer.status_code, answer.headers["Location"]) == (302, "/devices")
    visitor.cookie = new_cookie(answer)
    assert (await visitor.get(workers[1], "/devices")).status_code == 200
    assert await visitor.data(workers[1], "note") == "kept"
    assert not await before.knows_me(workers[1])


async def test_goes_on_from_a_button(workers: list[Worker], visitor: Visitor) -> None:
    """Whoever was asked at a button comes back to the list, and nothing has ended by itself."""
    next_path = asked_for(await visitor.post(workers[0], "/devices/end-all"))
    answer = await visitor.post(workers[0], "/login", data=again(visitor, next_path=next_path))
    visitor.cookie = new_cookie(answer)
    back = await visitor.get(workers[1], answer.headers["Location"])
    assert (back.status_code, back.headers["Location"]) == (302, "/devices")
    assert await visitor.knows_me(workers[1])


async def test_wrong_password(workers: list[Worker], visitor: Visitor) -> None:
    """A wrong one is 401: the session is neither ended nor taken for one that gave it."""
    answer = await visitor.post(workers[0], "/login", data=again(visitor, "wrong"))
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (401, False)
    assert "Your password, once more" in answer.text
    assert asked_for(await visitor.get(workers[1], "/devices")) == "/devices"


async def test_wrong_passwords_are_slowed_down(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """Wrong ones count as at any login: after the free ones even the right one has to wait."""
    (worker,) = start_workers(shared_single.url, LOGIN_TRIES="2")
    visitor = await new_visitor().logged_in(worker)
    given = ["wrong", "wrong", "demo"]
    answers = [await visitor.post(worker, "/login", data=again(visitor, one)) for one in given]
    assert [answer.status_code for answer in answers] == [401, 401, 429]
    assert int(answers[-1].headers["Retry-After"]) >= 1


async def test_stay_logged_in(
    workers: list[Worker], new_visitor: NewVisitor, shared_single: Place
) -> None:
    """A browser that stays logged in is asked too, and stays so after the password."""
    visitor = new_visitor()
    visitor.user = "ann-who-stays"
    form = {"username": visitor.user, "password": "demo", "stay": "1"}
    visitor.cookie = new_cookie(await visitor.post(workers[0], "/login", data=form))
    logged_in_before(shared_single, visitor, 3600)
    assert asked_for(await visitor.get(workers[0], "/devices")) == "/devices"
    answer = await visitor.post(workers[0], "/login", data=again(visitor))
    assert int(SimpleCookie(answer.headers["Set-Cookie"])[COOKIE_NAME]["max-age"]) == 30 * 86400


async def test_another_name(workers: list[Worker], visitor: Visitor) -> None:
    """Another name in that form is a login of somebody else, who gets nothing of this session's data."""
    await visitor.put(workers[0], "note", "ann's")
    form = again(visitor) | {"username": "bob"}
    visitor.cookie = new_cookie(await visitor.post(workers[0], "/login", data=form))
    assert (await visitor.get(workers[1], "/api/session")).json()["user"] == "bob"
    assert await visitor.data(workers[1], "note") is None


async def test_without_a_session(workers: list[Worker], new_visitor: NewVisitor) -> None:
    """Without a session that address is the login form."""
    answer = await new_visitor().get(workers[0], "/login?again=1")
    assert "Stay logged in" in answer.text
    assert "once more" not in answer.text


async def pretend(worker: Worker, visitor: Visitor) -> httpx.Response:
    """Write a login of this moment into the session's data, and ask for the list."""
    for key in ("created", "d:created", "password", "authenticated", "version", "user"):
        await visitor.put(worker, key, int(time.time() * 1000))
    return await visitor.get(worker, "/devices")


async def test_data_sets_no_mark(workers: list[Worker], visitor: Visitor) -> None:
    """Nothing that a visitor writes into the session makes it one that gave the password."""
    assert asked_for(await pretend(workers[0], visitor)) == "/devices"


async def test_a_mark_in_the_data_lets_everybody_in(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """A worker that kept the mark in the session's data would be deceived by the same requests."""
    (worker,) = start_workers(shared_single.url, module=BREAK_IN)
    visitor = await new_visitor().logged_in(worker)
    logged_in_before(shared_single, visitor, PASSWORD_WITHIN_SECONDS + 1)
    assert asked_for(await visitor.get(worker, "/devices")) == "/devices"
    assert (await pretend(worker, visitor)).status_code == 200
