"""The session cookie: who gets one, when, what it says of itself, and what a wrong one costs."""

from __future__ import annotations

import asyncio
from http.cookies import SimpleCookie

import httpx
import pytest
from tornado.web import create_signed_value

from app.cookie import SessionCookie
from app.sessions.identity import new_id
from app.settings import COOKIE_NAME
from lab.testbed.monitor import Monitor
from lab.testbed.servers import Place, RedisServer
from lab.testbed.workers import SECRET, Worker
from tests.integration.conftest import NewVisitor, StartWorkers
from tests.integration.visitor import Visitor, new_cookie

RING = {1: "another secret, long enough to be one of a worker's"}


def with_an_own_key(value: str) -> str:
    return create_signed_value(RING, COOKIE_NAME, value, version=2, key_version=1).decode()


def id_in(cookie: str) -> str:
    """The session id that a signed value carries; its reader is asked, not its format."""
    reader = SessionCookie([SECRET], 3600)
    session_id = reader._verify(COOKIE_NAME, cookie.strip('"'))
    assert session_id
    return session_id


async def test_flags(workers: list[Worker], new_visitor: NewVisitor) -> None:
    """The cookie is for this host, unreadable for scripts, not sent across sites, and ends with the browser."""
    answer = await new_visitor().log_in(workers[0])
    ((name, morsel),) = SimpleCookie(answer.headers["Set-Cookie"]).items()
    given = {key: value for key, value in morsel.items() if value}
    assert name == COOKIE_NAME
    assert given == {"path": "/", "httponly": True, "samesite": "Lax"}


async def test_flags_behind_tls(workers: list[Worker], new_visitor: NewVisitor) -> None:
    """Behind https it is Secure and bound to the host by its name, and the http cookie is not taken."""
    visitor, https = new_visitor(), {"X-Scheme": "https"}
    form = {"username": "ann", "password": "demo"}
    answer = await visitor.post(workers[0], "/login", data=form, headers=https)
    ((name, morsel),) = SimpleCookie(answer.headers["Set-Cookie"]).items()
    given = {key: value for key, value in morsel.items() if value}
    assert name == f"__Host-{COOKIE_NAME}"
    assert given == {"path": "/", "httponly": True, "samesite": "Lax", "secure": True}
    visitor.cookie = morsel.value
    own = {"Cookie": f"__Host-{COOKIE_NAME}={morsel.value}"}
    assert (await new_visitor().get(workers[0], "/api/session", headers=https | own)).is_success
    plain = await visitor.get(workers[0], "/api/session", headers=https)
    assert plain.status_code == 401  # sent without the prefix
    cookie = {"Cookie": f"__Host-{COOKIE_NAME}={morsel.value}"}
    assert (await new_visitor().get(workers[1], "/api/session", headers=https | cookie)).is_success


async def test_set_only_at_login_and_logout(workers: list[Worker], visitor: Visitor) -> None:
    """No answer but login and logout carries Set-Cookie, whatever was asked."""
    requests = [
        ("GET", "/"), ("GET", "/login"), ("GET", "/logout"), ("GET", "/api/session"),
        ("PUT", "/api/data/k"), ("GET", "/api/data/k"), ("DELETE", "/api/data/k"),
        ("GET", "/devices"), ("GET", "/api/devices"), ("POST", "/devices/end-others"),
        ("GET", "/nowhere"), ("PATCH", "/"), ("POST", "/api/visits"), ("GET", "/slow?ms=1"),
    ]  # fmt: skip
    for method, path in requests:
        answer = await visitor.ask(workers[1], method, path, json=1 if method == "PUT" else None)
        assert "Set-Cookie" not in answer.headers, path
        assert answer.status_code < 500
    wrong = await visitor.post(
        workers[0], "/login", data={"username": visitor.user, "password": "wrong"}
    )
    assert (wrong.status_code, "Set-Cookie" in wrong.headers) == (401, False)
    assert await visitor.knows_me(workers[0])
    assert new_cookie(await visitor.post(workers[0], "/logout")) in ("", '""')
    late = await visitor.get(workers[0], "/api/session")
    assert "Set-Cookie" not in late.headers


@pytest.mark.parametrize("path", ["/logout", "/devices/end-all", "/devices/{ref}/end"])
async def test_cleared_with_its_session(workers: list[Worker], visitor: Visitor, path: str) -> None:
    """Ending one's own session takes the cookie away, with its flags, and what scripts have stored in the browser."""
    (device,) = (await visitor.get(workers[0], "/api/devices")).json()["devices"]
    assert "Clear-Site-Data" not in (await visitor.get(workers[0], "/")).headers
    answer = await visitor.post(workers[1], path.format(ref=device["ref"]))
    header = answer.headers["Set-Cookie"]
    assert new_cookie(answer) in ("", '""')
    assert answer.headers["Clear-Site-Data"] == '"storage"'
    assert {"HttpOnly", "Path=/", "SameSite=Lax"} <= set(header.split("; "))
    assert not await visitor.knows_me(workers[0])


async def test_logout_is_said(workers: list[Worker], new_visitor: NewVisitor) -> None:
    """The login page says so to a browser that a button of this site's pages has sent there, and to no other."""
    here = workers[0].url.partition("//")[2]
    addresses = (
        "",
        f"http://{here}/login",
        f"http://{here}/help",
        "http://evil.example/",
        "http://[",
    )
    said = {f"http://{here}/", f"http://{here}/devices", f"http://{here}/logout"}
    for referer in (*said, *addresses):
        form = await new_visitor().get(workers[0], "/login", headers={"Referer": referer})
        assert ("You are logged out." in form.text) is (referer in said), referer
    asked = {"Referer": f"http://{here}/"}
    form = await new_visitor().get(workers[0], "/login?next=%2F", headers=asked)
    assert "You are logged out." not in form.text


def wrong_cookies(right: str) -> dict[str, bytes]:
    """Cookie headers that lead to no session, made of a right one."""
    flipped = right[:-1] + ("0" if right[-1] != "0" else "1")
    other = create_signed_value("x" * 40, COOKIE_NAME, new_id("ann"), version=2).decode()
    no_id = create_signed_value({1: SECRET}, COOKIE_NAME, "x", version=2, key_version=1).decode()
    return {
        "empty": b"",
        "no value": f"{COOKIE_NAME}=".encode(),
        "no equals": COOKIE_NAME.encode(),
        "quotes": f'{COOKIE_NAME}=""'.encode(),
        "forged": f"{COOKIE_NAME}={flipped}".encode(),
        "truncated": f"{COOKIE_NAME}={right[:-20]}".encode(),
        "half": f"{COOKIE_NAME}={right[: len(right) // 2]}".encode(),
        "twice as long": f"{COOKIE_NAME}={right}{right}".encode(),
        "own key": f"{COOKIE_NAME}={with_an_own_key(new_id('ann'))}".encode(),
        "no key version": f"{COOKIE_NAME}={other}".encode(),
        "signed but no id": f"{COOKIE_NAME}={no_id}".encode(),
        "unsigned id": f"{COOKIE_NAME}={new_id('ann')}".encode(),
        "version 1": f"{COOKIE_NAME}=".encode() + b"aaa|1234567890|0123456789abcdef",
        "pipes": f"{COOKIE_NAME}=".encode() + b"|" * 100,
        "eight kilobytes": f"{COOKIE_NAME}=".encode() + b"a" * 8000,
        "not ascii": f"{COOKIE_NAME}=é李".encode(),
        "not utf-8": f"{COOKIE_NAME}=".encode() + b"\xff\xfe\x80",
        "other names": f"SID={right}; xsid={right}; sid2={right}".encode(),
        "another kind": f"__Host-{COOKIE_NAME}={right}".encode(),
        "a hundred": b"; ".join(b"c%d=v" % n for n in range(100)),
    }


async def test_wrong_cookies(
    workers: list[Worker], visitor: Visitor, shared_single: Place, http: httpx.AsyncClient
) -> None:
    """A forged, cut, huge, foreign or senseless cookie is an anonymous visitor and costs Redis nothing."""
    assert visitor.cookie
    headers = wrong_cookies(visitor.cookie)
    expected = {"/login": 200, "/": 302, "/api/session": 401, "/logout": 200}
    with Monitor(shared_single) as asked:
        for what, cookie in headers.items():
            for path, status in expected.items():
                answer = await http.get(workers[0].url + path, headers={b"Cookie": cookie})
                assert answer.status_code == status, what
                assert "Set-Cookie" not in answer.headers, what
    assert asked.from_clients == []


async def test_right_cookie_among_others(workers: list[Worker], visitor: Visitor) -> None:
    """The session's cookie is found among others, in quotes and with spaces around it."""
    for text in ("a=b; {}={}", "{}={}; a=b", 'x="1;2"; {}={};', "a; =; {}={}", '{}="{}"'):
        headers = {"Cookie": text.format(COOKIE_NAME, visitor.cookie)}
        answer = await Visitor(visitor.http).get(workers[0], "/api/session", headers=headers)
        assert answer.status_code == 200, text


async def test_id_stays_in_the_cookie(workers: list[Worker], visitor: Visitor) -> None:
    """The session id is in no body, header, address or log; only Set-Cookie carried it, once."""
    assert visitor.cookie
    session_id = id_in(visitor.cookie)
    assert await visitor.knows_me(workers[1])
    for path in (
        "/",
        "/devices",
        "/api/devices",
        "/api/session",
        "/logout",
        "/metrics",
        "/nowhere",
    ):
        answer = await visitor.get(workers[0], path)
        for secret in (session_id, session_id[4:], visitor.cookie):
            assert secret not in answer.text
            assert secret not in str(answer.headers)
    for worker in workers:
        assert session_id[4:] not in worker.log
        assert visitor.cookie not in worker.log


async def test_unknown_id_is_not_adopted(
    workers: list[Worker], http: httpx.AsyncClient, shared_single: Place
) -> None:
    """A well signed id of no session is anonymous; a login with it gives another id."""
    planted = new_id("ann")
    ring = SessionCookie([SECRET], 3600)
    cookie = create_signed_value(
        ring._ring, COOKIE_NAME, planted, version=2, key_version=ring._signing_version
    ).decode()
    visitor = Visitor(http, cookie)
    assert not await visitor.knows_me(workers[0])
    await visitor.log_in(workers[0])
    assert visitor.cookie
    assert id_in(visitor.cookie) != planted
    assert not await Visitor(http, cookie).knows_me(workers[0])


@pytest.mark.long
async def test_secrets_rotate(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """Over a rolling restart that puts a new secret first nobody is logged out; a removed one ends trust."""
    old, new = "the-old-secret-of-this-test" * 2, "the-new-secret-of-this-test" * 2
    workers = start_workers(shared_single.url, 2, SESSION_SECRETS=old, DRAIN_SECONDS="1")
    early = await new_visitor().logged_in(workers[0])

    async def restart(worker: Worker, secrets: str) -> None:
        worker.terminate()
        assert await asyncio.to_thread(worker.wait, 10) == 0
        worker.start(SESSION_SECRETS=secrets)
        await asyncio.to_thread(worker.wait_ready)

    async def nobody_is_logged_out(*visitors: Visitor) -> None:
        for visitor in visitors:
            for worker in workers:
                assert await visitor.knows_me(worker)

    # First every worker learns to verify the new one, then it signs, then the old one goes.
    for worker in workers:
        await restart(worker, f"{old},{new}")
        await nobody_is_logged_out(early)
    late = new_visitor()
    for n, worker in enumerate(workers):
        await restart(worker, f"{new},{old}")
        if n == 0:
            await late.log_in(worker)
        await nobody_is_logged_out(early, late)
    for worker in workers:
        await restart(worker, new)
    for worker in workers:
        assert await late.knows_me(worker)
        answer = await early.get(worker, "/api/session")
        assert (answer.status_code, "Set-Cookie" in answer.headers) == (401, False)


async def test_several_values(workers: list[Worker], new_visitor: NewVisitor) -> None:
    """Beside a forged, an ended or nobody's value the right one is found, in either order."""
    visitor, ended = new_visitor(), new_visitor()
    await visitor.log_in(workers[0])
    await ended.log_in(workers[0])
    await ended.post(workers[0], "/logout")
    for other in ("junk", str(ended.cookie)):
        for first, second in ((other, visitor.cookie), (visitor.cookie, other)):
            cookie = {"Cookie": f"{COOKIE_NAME}={first}; {COOKIE_NAME}={second}"}
            answer = await new_visitor().get(workers[1], "/api/session", headers=cookie)
            assert (answer.status_code, answer.json()["user"]) == (200, visitor.user)


async def test_stay_logged_in(
    server: RedisServer, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """With the box ticked the cookie outlives the browser, 30 days, also when renewed; without it, it does not."""
    often = {"SESSION_RENEW_SECONDS": "1.2", "SESSION_RENEW_GRACE_SECONDS": "1"}
    (worker,) = start_workers(server.url, SESSION_IDLE_SECONDS="60", **often)
    visitor = new_visitor()
    form = {"username": "ann", "password": "demo", "stay": "1"}
    answer = await visitor.post(worker, "/login", data=form)
    assert int(SimpleCookie(answer.headers["Set-Cookie"])[COOKIE_NAME]["max-age"]) == 30 * 86400
    visitor.cookie = new_cookie(answer)
    told = (await visitor.get(worker, "/api/session")).json()
    assert told["idle_expires_in"] == pytest.approx(7 * 86400, abs=60)
    assert told["absolute_expires_in"] == pytest.approx(30 * 86400, abs=60)
    await asyncio.sleep(1.25)
    renewed = SimpleCookie((await visitor.get(worker, "/")).headers["Set-Cookie"])[COOKIE_NAME]
    assert int(renewed["max-age"]) == pytest.approx(30 * 86400, abs=60)


async def test_two_stacks_on_one_host(
    shared_single: Place, start_workers: StartWorkers, new_visitor: NewVisitor
) -> None:
    """With names and prefixes of their own two stacks share a browser and a Redis, and end nobody's session."""
    of_shop = {
        "SESSION_COOKIE_NAME": "shop",
        "SESSION_PREFIX": "shop:",
        "SESSION_MAX_PER_USER": "1",
    }
    (here,) = start_workers(shared_single.url, SESSION_MAX_PER_USER="1")
    (there,) = start_workers(shared_single.url, **of_shop)
    visitor, form = new_visitor(), {"username": "ann-of-both", "password": "demo"}
    await visitor.log_in(here, "ann-of-both")
    answer = await visitor.post(there, "/login", data=form)
    ((name, morsel),) = SimpleCookie(answer.headers["Set-Cookie"]).items()
    assert name == "shop"
    both = {"Cookie": f"{COOKIE_NAME}={visitor.cookie}; shop={morsel.value}"}
    for worker in (here, there):
        assert (await new_visitor().get(worker, "/api/session", headers=both)).status_code == 200
    assert (await new_visitor().post(there, "/logout", headers=both)).status_code == 302
    assert await visitor.knows_me(here)
