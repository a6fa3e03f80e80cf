"""Requests from other sites, with lies in their headers, too large or too slow: what becomes of them."""

from __future__ import annotations

import os
import resource
import select
import socket
import ssl
import stat
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from app.settings import COOKIE_NAME
from deploy.native.scratch import Scratch
from lab.mutants.catalogue import Mutant
from lab.mutants.stack import workers
from tests.stack.conftest import NOBODY_EXEMPT, ChangedNginx
from tests.stack.raw import ask, request
from tests.stack.visitor import Visitor, new_visitor

pytestmark = pytest.mark.native

WORKERS = 4
NGINX_PROCESSES = os.cpu_count() or 1  # worker_processes auto
TYPED = "Content-Type: application/x-www-form-urlencoded"
FORM = {"username": "test-cross-site", "password": "demo"}


@pytest.fixture(params=["http", "https"])
def site_of_each_kind(stack: Scratch, request: pytest.FixtureRequest) -> tuple[str, ssl.SSLContext]:
    trusted = ssl.create_default_context(cafile=str(stack.folder / "state/https/certificate.pem"))
    return (stack.url if request.param == "http" else stack.https_url), trusted


@pytest.fixture
def client(site_of_each_kind: tuple[str, ssl.SSLContext]) -> Iterator[Visitor]:
    """A logged-in browser, on http and then on https."""
    url, trusted = site_of_each_kind
    with new_visitor(url, verify=trusted) as client:
        client.log_in()
        yield client


CROSS_SITE = {
    "other site": {"Origin": "https://evil.example"},
    "other site, says the browser": {"Sec-Fetch-Site": "cross-site"},
    "both": {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    "sister host": {"Sec-Fetch-Site": "same-site", "Origin": "https://other.127.0.0.1"},
    "other port": {"Origin": "http://127.0.0.1:1"},
    "other port, over https": {"Origin": "https://127.0.0.1:1"},
    "sandboxed page": {"Origin": "null"},
    "our name in front": {"Origin": "https://127.0.0.1.evil.example"},
    "lying browser": {"Sec-Fetch-Site": "cross-site", "Origin": "{own}"},
}
CHANGING = ["/login", "/logout", "/api/visits", "/api/data/k/add", "/devices/end-all"]


@pytest.mark.parametrize("kind", CROSS_SITE)
def test_cross_site(client: Visitor, kind: str) -> None:
    """No form of another site does anything, on http and https, on any worker: not even log somebody in."""
    own = str(client.base_url).rstrip("/")
    headers = {name: value.format(own=own) for name, value in CROSS_SITE[kind].items()}
    before = client.session()["version"]
    answers = [
        client.post(path, data=FORM, headers=headers) for path in CHANGING for _ in range(WORKERS)
    ]

    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.headers["X-Served-By"] for answer in answers}) == WORKERS
    assert not any("Set-Cookie" in answer.headers for answer in answers)
    assert client.session()["version"] == before


def test_cross_site_needs_the_check(stack: Scratch, tmp_path: Path) -> None:
    """Workers without Tornado's check log a visitor in for another site, and the test above would notice it."""
    careless = Mutant("takes forms from any site", 0, workers="tests.stack.any_origin")
    with workers(stack, careless, tmp_path) as ports:
        answers = [
            httpx.post(
                f"http://127.0.0.1:{port}/login",
                data=FORM,
                headers=CROSS_SITE["other site"],
                trust_env=False,
            )
            for port in ports
        ]

    assert {answer.status_code for answer in answers} == {302}


SAME_SITE = [{}, {"Origin": "{own}"}, {"Sec-Fetch-Site": "same-origin", "Origin": "{own}"}]


@pytest.mark.parametrize("headers", SAME_SITE)
def test_own_forms(client: Visitor, headers: dict[str, str]) -> None:
    """The site's own forms pass, with the headers of new browsers, of old ones, and of no browser."""
    own = str(client.base_url).rstrip("/")
    given = {name: value.format(own=own) for name, value in headers.items()}

    assert client.post("/login", data=FORM, headers=given).status_code == 302


def test_page_of_http_posts_to_https(stack: Scratch) -> None:
    """A form that a plain page of the same name sends to https is refused, also where only the scheme differs."""
    form = {"body": "username=test-downgrade&password=demo", "host": "shop.example"}
    from_nginx = f"X-Nginx-Secret: {(stack.state / 'nginx-secret').read_text().strip()}"
    seen = [
        ask(
            stack.worker_ports[0],
            request(
                *("POST", "/login", TYPED, from_nginx, f"X-Scheme: {to}"),
                *(f"Origin: {at}://shop.example",),
                **form,
            ),
        ).status
        for at, to in (("http", "https"), ("https", "https"), ("http", "http"))
    ]

    assert seen == [403, 302, 302]


LIES = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Real-IP": "6.6.6.6",
    "Forwarded": "for=6.6.6.6;host=evil.example;proto=https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Scheme": "https",
    "X-Forwarded-Port": "1",
}


def test_forwarded_headers_are_ignored(visitor: Visitor) -> None:
    """What a client says of its address, host and scheme is not believed: not for the list of devices, not for cookies."""
    form = {"username": "test-forwarded-headers", "password": "demo"}
    answer = visitor.post("/login", data=form, headers=LIES)
    devices = visitor.get("/api/devices", headers=LIES).json()["devices"]

    assert answer.headers["Set-Cookie"].startswith(f"{COOKIE_NAME}=")
    assert answer.headers["Location"] == "/"
    assert {device["address"] for device in devices} == {"127.0.0.1"}


def seen_by_a_worker(stack: Scratch, secret: str) -> tuple[str, str]:
    """Address and cookie of a login on a worker's own port, with this secret, that claims 6.6.6.6 and https."""
    headers = LIES | {"X-Nginx-Secret": secret}
    with new_visitor(f"http://127.0.0.1:{stack.worker_ports[0]}", headers=headers) as client:
        answer = client.log_in(f"test-{uuid.uuid4().hex}")
        cookie = answer.headers["Set-Cookie"].partition(";")[0]  # the jar sends no Secure one here
        (device,) = client.get("/api/devices", headers={"Cookie": cookie}).json()["devices"]
    return str(device["address"]), cookie.partition("=")[0]


def test_a_worker_believes_nginx_alone(stack: Scratch) -> None:
    """Who asks a worker's port without the secret of nginx comes from where he comes from, and over http."""
    secret_file = stack.state / "nginx-secret"
    secret = secret_file.read_text().strip()

    assert seen_by_a_worker(stack, "x" * 43) == ("127.0.0.1", COOKIE_NAME)
    assert seen_by_a_worker(stack, secret) == ("6.6.6.6", f"__Host-{COOKIE_NAME}")
    assert stat.S_IMODE(secret_file.stat().st_mode) == 0o600
    assert stat.S_IMODE((stack.state / "https/secret.conf").stat().st_mode) == 0o600


PATHS = [
    "/",
    "/devices",
    "/logout",
    "/nowhere",
    "/login?next=%2F",
    "/static/errors",
    "/static/errors?v=1",
]
FOREIGN = [
    "evil.example",
    "evil.example:99",
    "127.0.0.1.evil.example",
    "localhost.evil",
    "127.0.0.2",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", FOREIGN)
def test_only_known_hosts(visitor: Visitor, path: str, host: str) -> None:
    """Over http, too, a Host that is not ours is refused, reaches no worker, and no answer repeats it."""
    answer = visitor.get(path, headers={"Host": host})

    assert answer.status_code == 421
    assert host not in answer.text + str(answer.headers)
    assert "X-Served-By" not in answer.headers


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST:1"])
def test_own_names(visitor: Visitor, host: str) -> None:
    """This machine's own names are served, whatever the port in them."""
    assert visitor.get("/login", headers={"Host": host}).status_code == 200


def test_health_under_any_name(site: str) -> None:
    """The health check may be asked under any name, and no other path by looking like it."""
    with new_visitor(site) as visitor:
        paths = (
            "/healthz",
            "/x%20/healthz",
            "/login%20/healthz",
            "/x%20http%20%200%200%20/healthz",
        )
        answers = [visitor.get(path, headers={"Host": "balancer"}) for path in paths]

    assert [answer.status_code for answer in answers] == [200, 421, 421, 421]


@pytest.mark.native
def test_hosts_need_refusing(changed_nginx: ChangedNginx) -> None:
    """Without the line that refuses it a foreign name is served, and the test above would notice."""
    url = changed_nginx("site.conf", "if ($misdirected) { return 421; }", "")
    with new_visitor(url) as visitor:
        assert visitor.get("/login", headers={"Host": "evil.example"}).status_code == 200


@pytest.mark.native
def test_own_redirects_name_no_host(changed_nginx: ChangedNginx) -> None:
    """nginx's redirect of a folder is relative and not kept, even where every Host is let in."""
    url = changed_nginx("site.conf", "if ($misdirected) { return 421; }", "")
    with new_visitor(url) as visitor:
        answer = visitor.get("/static?v=1", headers={"Host": "evil.example"})

    assert answer.status_code in (301, 302, 404)
    assert "evil.example" not in str(answer.headers)


def many(count: int) -> list[str]:
    return [f"X-Header-{number}: 1" for number in range(count)]


TOO_MUCH = {
    "body": (request("POST", "/login", body="x" * 65_537), {413}),
    "body without a length": (
        request("POST", "/login", "Transfer-Encoding: chunked")
        + b"".join(b"1000\r\n" + b"x" * 4096 + b"\r\n" for _ in range(17)),
        {413},
    ),
    "announced body": (request("POST", "/login", "Content-Length: 99999999999"), {413}),
    "header": (request("GET", "/login", "X-Long: " + "x" * 20_000), {400}),
    "headers together": (request("GET", "/login", *[f"X: {'x' * 15_000}"] * 6), {400}),
    "number of headers": (request("GET", "/login", *many(101)), {400}),
    "address": (request("GET", "/login?" + "x" * 20_000), {414}),
    "cookie": (request("GET", "/", f"Cookie: {COOKIE_NAME}=" + "x" * 20_000), {400}),
    "form fields": (request("POST", "/login", TYPED,
                            body="&".join(f"a{n}=1" for n in range(21))), {400}),
    "two lengths": (request("POST", "/login", "Content-Length: 1", "Content-Length: 2"), {400}),
    "length and chunks": (
        request("POST", "/login", "Content-Length: 5", "Transfer-Encoding: chunked"), {400}
    ),
    "no host": (b"GET /login HTTP/1.1\r\nConnection: close\r\n\r\n", {400}),
    "two hosts": (request("GET", "/login", "Host: evil.example"), {400}),
    "control character": (request("GET", "/login", "X: a\x00b"), {400}),
    "unknown method": (request("BREW", "/login"), {405}),
    "TRACE": (request("TRACE", "/login"), {405}),
    "another site's address": (request("GET", "http://evil.example/login"), {421}),
    "not HTTP": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", {400}),
}  # fmt: skip
GOOD = "base-uri 'none'"  # in the Content-Security-Policy


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_too_much(stack: Scratch, kind: str) -> None:
    """What is too large, too many or no HTTP is refused with its status, and carries the security headers."""
    sent, statuses = TOO_MUCH[kind]
    answer = ask(stack.http_port, sent, waits=False)

    assert answer.status in statuses
    assert GOOD in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["server"] == "nginx"
    assert "Tornado" not in answer.head


def test_just_enough(stack: Scratch) -> None:
    """What is just within the limits is served: they are limits, not refusals of everything."""
    headers = [f"X-{number}: {'x' * 900}" for number in range(60)]  # 55 KB in all
    form = "&".join(["username=test-limits", "password=demo", *(f"a{n}=1" for n in range(18))])

    assert ask(stack.http_port, request("GET", "/login", *headers)).status == 200
    assert ask(stack.http_port, request("GET", "/login", *many(90))).status == 200
    assert ask(stack.http_port, request("POST", "/login", TYPED, body=form)).status == 302


@pytest.mark.parametrize("kind", ["body", "headers together", "form fields"])
def test_workers_have_limits_too(stack: Scratch, kind: str) -> None:
    """A worker that is asked directly refuses the same, without an answer or with 400."""
    sent = TOO_MUCH[kind][0]
    if kind == "headers together":
        sent = request("GET", "/login", *[f"X: {'x' * 15_000}"] * 6)

    assert ask(stack.worker_ports[0], sent).status in (0, 400, 413)


SLOW_SECONDS = 10.0  # client_header_timeout, client_body_timeout, and body_timeout of a worker
LATE = 8.0  # a busy machine


def trickle(port: int, seconds: float) -> float:
    """Send a header byte by byte; after how many seconds the server has closed, at most `seconds`."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        started = time.monotonic()
        raw.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
        try:
            while time.monotonic() - started < seconds:
                raw.sendall(b"x")
                raw.settimeout(0.5)
                try:
                    if not raw.recv(4096):
                        break
                except TimeoutError:
                    pass
        except (ConnectionResetError, BrokenPipeError):
            pass
        return time.monotonic() - started


@pytest.mark.long
def test_slow_senders(stack: Scratch) -> None:
    """Who sends a header byte by byte, or half a body, is cut off after ten seconds, by nginx and by a worker."""
    half = request("POST", "/login", "Content-Length: 100") + b"username="
    after: dict[str, float] = {}

    def measure(name: str, seconds: float) -> None:
        after[name] = seconds

    limit = SLOW_SECONDS + LATE
    slow = [
        threading.Thread(target=lambda: measure("header", trickle(stack.http_port, limit))),
        threading.Thread(target=lambda: measure("body", ask(stack.http_port, half).seconds)),
        threading.Thread(
            target=lambda: measure("worker", ask(stack.worker_ports[0], half).seconds)
        ),
    ]
    for thread in slow:
        thread.start()
    for thread in slow:
        thread.join()

    assert after.keys() == {"header", "body", "worker"}
    assert all(SLOW_SECONDS - 1 < seconds < limit for seconds in after.values()), after


@contextmanager
def open_files(count: int) -> Iterator[None]:
    """Allow this process that many open files while the block runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard > count, f"this needs a limit of {count} files"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connected(everything: ExitStack, port: int, source: str, count: int) -> list[socket.socket]:
    """Connections from `source` that send nothing."""
    return [
        everything.enter_context(
            socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0))
        )
        for _ in range(count)
    ]


def is_open(idle: socket.socket) -> bool:
    idle.setblocking(False)
    try:
        return bool(idle.recv(1))
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def test_ten_thousand_idle_connections(stack: Scratch) -> None:
    """10,000 idle connections of one client are held, and do not stop another from logging in."""
    with open_files(11_000), ExitStack() as everything:
        idle = connected(everything, stack.http_port, "127.0.0.9", 10_000)
        with new_visitor(stack.url) as visitor:
            visitor.log_in()
            visits = visitor.visit()["visits"]
        held = sum(map(is_open, idle))

    assert visits == 1
    assert held > 5_000  # the first ones may have met client_header_timeout by now


def test_idle_ones_make_room(changed_nginx: ChangedNginx) -> None:
    """Where nginx has fewer connections than that, it closes idle ones, and another still logs in."""
    url = changed_nginx("nginx.conf", "worker_connections 16384;", "worker_connections 256;")
    with open_files(2_000), ExitStack() as everything:
        idle = connected(everything, int(url.rpartition(":")[2]), "127.0.0.9", 1_500)
        with new_visitor(url) as visitor:
            visitor.log_in()
            visits = visitor.visit()["visits"]
        held = sum(map(is_open, idle))

    assert visits == 1
    assert held < 256 * NGINX_PROCESSES


ONE_ADDRESS = "127.0.0.9"
MOST = 1000  # limit_conn in nginx/snippets/limits.conf
# Its last byte never comes.
HALF = request("PUT", "/api/data/k", "Content-Length: 2") + b"1"


def refused_of(port: int, count: int, everything: ExitStack) -> int:
    """How many of `count` unfinished requests of one address were answered, with 429; looks for a second."""
    unfinished = connected(everything, port, ONE_ADDRESS, count)
    for raw in unfinished:
        raw.sendall(HALF)
    with new_visitor(f"http://127.0.0.1:{port}") as visitor:  # another address
        visitor.log_in()
    time.sleep(1)  # the refusals are on their way
    poll = select.poll()
    for raw in unfinished:
        poll.register(raw, select.POLLIN)
    answered = {number for number, _ in poll.poll(0)}
    answers = {raw.recv(12) for raw in unfinished if raw.fileno() in answered}
    assert answers <= {b"HTTP/1.1 429"}
    return len(answered)


def test_one_address_has_its_share(changed_nginx: ChangedNginx) -> None:
    """Of 1,050 requests that one address keeps open, 50 get 429, and another address logs in."""
    port = int(changed_nginx(*NOBODY_EXEMPT).rpartition(":")[2])
    with open_files(2_000), ExitStack() as everything:
        assert refused_of(port, MOST + 50, everything) == 50


def test_share_needs_limit_conn(changed_nginx: ChangedNginx) -> None:
    """Without `limit_conn` none of them is refused, and the check above notices it."""
    port = int(changed_nginx("limits.conf", "limit_conn address 1000;", "").rpartition(":")[2])
    with open_files(2_000), ExitStack() as everything:
        assert refused_of(port, MOST + 50, everything) == 0
