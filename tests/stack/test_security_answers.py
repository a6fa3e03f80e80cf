"""What answers say, on http and https, in demo and in production: headers, versions, secrets."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from ssl import TLSVersion

import httpx
import pytest

from app.accounts import hash_password
from deploy.native import binaries
from deploy.native.nginx import nginx_version
from deploy.native.scratch import Scratch, scratch_stack
from deploy.paths import ROOT
from deploy.protocols import is_mended
from tests.conftest import UPSTREAM
from tests.stack.conftest import NOBODY_EXEMPT, ChangedNginx
from tests.stack.processes import members, supervisord_pid
from tests.stack.test_headers import missing_security
from tests.stack.tls import handshake, trusting
from tests.stack.visitor import Visitor, new_visitor

pytestmark = pytest.mark.native

ANSWERS: dict[int, Callable[[Visitor], httpx.Response]] = {
    200: lambda visitor: visitor.get("/login"),
    302: lambda visitor: visitor.get("/"),
    400: lambda visitor: visitor.get("/login", headers={"Host": "a b"}),
    401: lambda visitor: visitor.get("/api/session"),
    403: lambda visitor: visitor.post("/logout", headers={"Origin": "null"}),
    404: lambda visitor: visitor.get("/static/none"),
    405: lambda visitor: visitor.put("/login"),
    413: lambda visitor: visitor.post("/login", content=b"x" * 70_000),
    414: lambda visitor: visitor.get("/" + "x" * 20_000),
    421: lambda visitor: visitor.get("/", headers={"Host": "evil.example"}),
}


@pytest.mark.parametrize("status", ANSWERS)
def test_https_answers(stack: Scratch, status: int) -> None:
    """Over https each kind of answer, errors included, carries the security headers once."""
    with new_visitor(stack.https_url, verify=trusting(stack)) as visitor:
        answer = ANSWERS[status](visitor)

    assert answer.status_code == status
    assert missing_security(answer) == []


def test_refusals_of_the_limit(changed_nginx: ChangedNginx) -> None:
    """The 429 of nginx carries them too."""
    url = changed_nginx(*NOBODY_EXEMPT)
    with new_visitor(url) as visitor:
        answers = [visitor.post("/login", data={"username": ""}) for _ in range(14)]

    assert answers[-1].status_code == 429
    assert missing_security(answers[-1]) == []


def test_no_worker(changed_nginx: ChangedNginx) -> None:
    """The 502 of nginx, when no worker is there, carries them too."""
    url = changed_nginx("site.conf", "proxy_pass http://app;", "proxy_pass http://127.0.0.1:9;")
    with new_visitor(url) as visitor:
        answer = visitor.get("/")

    assert answer.status_code == 502
    assert missing_security(answer) == []


FORM = {"username": "ann", "password": "demo"}
PRIVATE = ["/", "/devices", "/api/session", "/api/devices", "/logout", "/login", "/api/data/none"]


@pytest.mark.parametrize("path", PRIVATE)
def test_private_pages_are_not_stored(member: Visitor, path: str) -> None:
    """What depends on who asks is stored by no browser and no cache, and varies with the cookie."""
    answer = member.get(path)

    assert answer.headers.get_list("Cache-Control") == ["no-store"]
    assert answer.headers.get_list("Vary") == ["Cookie"]


def test_policy(visitor: Visitor) -> None:
    """The content security policy allows nothing inline, no eval, no frames, no plugins, no other site."""
    policy = visitor.get("/login").headers["Content-Security-Policy"]
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))

    assert parts["default-src"] == parts["form-action"] == "'self'"
    assert parts["frame-ancestors"] == parts["object-src"] == parts["base-uri"] == "'none'"
    assert not re.search(r"unsafe|https?:|\*|data:|nonce", policy)


@pytest.mark.parametrize(
    ("path", "is_data"),
    [
        ("/api/session", True),
        ("/api/none", True),
        ("/healthz", True),
        ("/login", False),
        ("/none", False),
    ],
)
def test_data_is_no_page(member: Visitor, path: str, is_data: bool) -> None:
    """JSON, errors included, is sandboxed for a browser that opens it by itself; pages are not."""
    policy = member.get(path).headers["Content-Security-Policy"]

    assert policy.endswith("; sandbox") is is_data


@pytest.mark.parametrize("path", ["/", "/api/session", "/static/style.css", "/none"])
def test_no_other_site_reads(member: Visitor, path: str) -> None:
    """No answer allows another origin to read it (CORS), whoever asks."""
    for origin in ("https://evil.example", "null"):
        answer = member.get(path, headers={"Origin": origin})

        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    "path", ["/static/", "/static/errors/", "/static/.git/config", "/.git/config"]
)
def test_no_listing(visitor: Visitor, path: str) -> None:
    """No folder is listed, and there is no source control on the site."""
    assert visitor.get(path).status_code in (403, 404)


CHANGING = ["/login", "/logout", "/api/visits", "/devices/end-all", "/devices/end-others"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_safe_methods_change_nothing(member: Visitor, method: str) -> None:
    """Where POST changes something, a method that a link or a prefetch may use changes nothing."""
    before = member.session()
    answers = [member.request(method, path, params=FORM) for path in CHANGING]

    assert {answer.status_code for answer in answers} <= {200, 302, 405}
    assert not any("Set-Cookie" in answer.headers for answer in answers)
    assert member.session()["version"] == before["version"]
    assert len(member.get("/api/devices").json()["devices"]) == 1


def test_no_jsonp(member: Visitor) -> None:
    """JSON stays JSON whatever callback is asked for, and says that it is no script."""
    answer = member.get("/api/session", params={"callback": "steal", "jsonp": "steal"})

    assert "steal" not in answer.text
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def channels_and_messengers(script: str) -> tuple[set[str], set[str]]:
    """Which names of a script are broadcast channels, and which send or hear messages."""
    channels = re.findall(r"(\w+) = new BroadcastChannel\(", script)
    sending = re.findall(r"(\w+)\.postMessage\(", script)
    hearing = re.findall(r"""(\w+)\.(?:addEventListener\(["']message|onmessage\b)""", script)
    return {*channels}, {*sending, *hearing}


def test_no_messages_between_sites() -> None:
    """Scripts speak over broadcast channels alone, which end at this site's border; no window is listened to."""
    scripts = [path.read_text() for path in (ROOT / "app/static").glob("*.js")]

    assert scripts
    for script in scripts:
        channels, messengers = channels_and_messengers(script)
        assert messengers <= channels


def test_messages_between_sites_would_be_seen() -> None:
    """A script that hears or tells any window would be noticed by the test above."""
    for script in ("window.addEventListener('message', run)", "opener.postMessage(secret, '*')"):
        channels, messengers = channels_and_messengers(script)
        assert messengers - channels


SECRET = secrets.token_urlsafe(40)
PASSWORD = secrets.token_urlsafe(12)


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    """A stack in production mode with one account, its secrets in files, X-Served-By switched off."""
    folder = tmp_path_factory.mktemp("secrets")
    users, secret = folder / "users", folder / "secret"
    users.write_text(f"ann:{hash_password(PASSWORD)}\n")
    secret.write_text(SECRET)
    given = {"APP_ENV": "production", "USERS_FILE": str(users), "SESSION_SECRETS_FILE": str(secret)}
    with scratch_stack(UPSTREAM, os.environ, **given, SERVED_BY="0") as stack:
        yield stack


@pytest.fixture
def client(production: Scratch) -> Iterator[Visitor]:
    with new_visitor(production.https_url, verify=trusting(production)) as client:
        yield client


def test_nothing_of_the_demo(client: Visitor) -> None:
    """In production /slow is not there, the demo password logs nobody in, and the page does not offer it."""
    wrong = client.post("/login", data={"username": "ann", "password": "demo"})
    form = client.get("/login").text
    client.log_in("ann", PASSWORD)

    assert wrong.status_code == 401
    assert "Demo" not in form
    assert client.get("/slow?ms=1").status_code == 404


def test_production_is_https_only(production: Scratch, stack: Scratch) -> None:
    """Production leads from http to https without being told to; the demo serves both."""
    answers = [httpx.get(f"{site.url}/login", trust_env=False) for site in (production, stack)]

    assert [answer.status_code for answer in answers] == [301, 200]
    assert answers[0].headers["Location"] == f"{production.https_url}/login"


def test_no_protocol_with_known_holes(production: Scratch, stack: Scratch) -> None:
    """Production speaks TLS 1.2 alone with an nginx that has a known hole in 1.3; the demo shows that 1.3 is seen."""
    tried = (TLSVersion.TLSv1_2, TLSVersion.TLSv1_3)
    newest = "TLSv1.3" if is_mended(nginx_version(binaries.nginx())) else None

    assert [handshake(production, version) for version in tried] == ["TLSv1.2", newest]
    assert [handshake(stack, version) for version in tried] == ["TLSv1.2", "TLSv1.3"]


def test_served_by_can_be_switched_off(client: Visitor) -> None:
    """With SERVED_BY=0 no answer says which worker made it; the request id stays, for the logs."""
    for path in ("/login", "/", "/api/session", "/no-such-page"):
        headers = client.get(path).headers

        assert "X-Served-By" not in headers
        assert "X-Request-ID" in headers


def names_of_workers(stack: Scratch, client: Visitor) -> list[str]:
    """What the answers to a visitor who has logged in, the first event included, say of who made them."""
    first = client.get("/api/session").json()
    answers = [client.get("/").text, str(client.visit()), str(first)]
    answers.append(client.post("/api/alerts", json={"text": "x"}).text)
    with client.stream("GET", "/events") as stream:
        answers.append(next(stream.iter_text()))
    found = re.findall(r":(\d{4,5})\b", " ".join(answers))
    return [port for port in found if int(port) in stack.worker_ports] + [first["boot"]]


def test_no_body_names_a_worker(production: Scratch, client: Visitor) -> None:
    """With SERVED_BY=0 no page, no JSON and no event names the worker, nor tells two of them apart."""
    client.log_in("ann", PASSWORD)

    assert names_of_workers(production, client) == [""]


def test_bodies_name_workers(stack: Scratch, visitor: Visitor) -> None:
    """Without that setting each of them does, so that the test above would notice."""
    visitor.log_in()
    named = names_of_workers(stack, visitor)

    assert len(named) >= 5
    assert named[-1]


def test_served_by_is_on(visitor: Visitor) -> None:
    """Without that setting each answer of a worker names it."""
    assert "X-Served-By" in visitor.get("/login").headers


def test_no_version(production: Scratch, client: Visitor) -> None:
    """No header and no error page says which versions run, neither nginx's nor a worker's own."""
    worker = f"http://127.0.0.1:{production.worker_ports[0]}"
    answers = [client.get(path) for path in ("/login", "/no-such-page", "/static/none")]
    answers += [client.put("/login"), client.post("/login", content=b"x" * 70_000)]
    answers += [httpx.get(f"{worker}{path}", trust_env=False) for path in ("/login", "/none")]
    for answer in answers:
        said = "\n".join(f"{name}: {value}" for name, value in answer.headers.items()) + answer.text

        assert not re.search(r"(?i)(nginx|tornado|python|valkey|redis)/?\s?v?\d", said)
        assert answer.headers.get("Server", "nginx") == "nginx"


def test_secrets_stay_in_their_files(production: Scratch, client: Visitor) -> None:
    """No secret is on a command line, in an environment, or in a log of the stack."""
    client.log_in("ann", PASSWORD)
    places = [
        Path(f"/proc/{pid}/{name}")
        for pid in members(production, supervisord_pid(production))
        for name in ("cmdline", "environ")
    ]
    places += list((production.folder / "state/logs").iterdir())
    said = b"".join(place.read_bytes() for place in places)

    assert len(places) > 10
    assert SECRET.encode() not in said
    assert PASSWORD.encode() not in said
