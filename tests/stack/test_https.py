"""The site over https: whom it answers, in which protocols, with which cookie, and HTTPS_ONLY."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.settings import COOKIE_NAME
from deploy.certificate import make_pair
from deploy.native.scratch import Scratch, scratch_stack
from lab.testbed.servers import wait_until
from tests.conftest import UPSTREAM, StartStack
from tests.stack.conftest import ChangedNginx
from tests.stack.operating import done
from tests.stack.tls import handshake, trusting
from tests.stack.visitor import Visitor, new_visitor

pytestmark = pytest.mark.native


@pytest.fixture
def browser(stack: Scratch) -> Iterator[Visitor]:
    """A browser that nobody knows yet, on https."""
    with new_visitor(stack.https_url, verify=trusting(stack)) as browser:
        yield browser


def test_whole_visit(browser: Visitor) -> None:
    """Log in, visit, log out, over https with the certificate checked: as over http."""
    browser.log_in()

    assert browser.visit()["visits"] == 1
    assert browser.post("/logout").status_code == 302
    assert browser.get("/api/session").status_code == 401


def test_cookie(browser: Visitor) -> None:
    """The cookie on https has the prefix __Host-: Secure, for this host alone, out of reach of scripts, and small."""
    (cookie,) = browser.log_in("n" * 64).headers.get_list("Set-Cookie")
    name, _, rest = cookie.partition("=")

    assert name == f"__Host-{COOKIE_NAME}"
    assert set(rest.split("; ")[1:]) == {"HttpOnly", "Path=/", "SameSite=Lax", "Secure"}
    assert len(cookie) < 512


def test_cookies_do_not_cross(stack: Scratch, browser: Visitor) -> None:
    """A cookie of one kind opens nothing on the other: what http leaks is of no use on https."""
    with new_visitor(stack.url) as plain:
        plain.log_in()
        http_cookie = plain.cookies[COOKIE_NAME]
        https_cookie = browser.log_in().headers["Set-Cookie"].split(";")[0].partition("=")[2]
        browser.cookies.clear()
        plain.cookies.clear()
        on_https = browser.get(
            "/api/session", headers={"Cookie": f"__Host-{COOKIE_NAME}={http_cookie}"}
        )
        on_http = plain.get("/api/session", headers={"Cookie": f"{COOKIE_NAME}={https_cookie}"})

    assert (on_https.status_code, on_http.status_code) == (401, 401)


HOSTS = ["localhost", "127.0.0.1", "[::1]", "LOCALHOST", "localhost:1"]
STRANGE = ["evil.example", "127.0.0.2", "localhost.evil.example", "x" * 200]


@pytest.mark.parametrize("host", HOSTS)
def test_names_of_the_certificate(browser: Visitor, host: str) -> None:
    """Each name in the certificate is served."""
    assert browser.get("/login", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", STRANGE)
def test_other_names_are_refused(browser: Visitor, host: str) -> None:
    """Any other Host is refused on https with 421, and reaches no worker."""
    answer = browser.get("/login", headers={"Host": host})

    assert answer.status_code == 421
    assert "X-Served-By" not in answer.headers


def test_other_names_need_refusing(changed_nginx: ChangedNginx, stack: Scratch) -> None:
    """Without the line that refuses them they are served, and the check above notices it."""
    url = changed_nginx("site.conf", "if ($misdirected) { return 421; }", "", https=True)
    with new_visitor(url, verify=trusting(stack)) as browser:
        assert browser.get("/login", headers={"Host": "evil.example"}).status_code == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
def test_protocols(stack: Scratch) -> None:
    """TLS 1.2 and 1.3 are spoken, and nothing older."""
    old = [handshake(stack, ssl.TLSVersion.TLSv1), handshake(stack, ssl.TLSVersion.TLSv1_1)]

    assert handshake(stack, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert handshake(stack, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    assert old == [None, None]


WEAK = "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0"
STRONG = "ECDHE-ECDSA-AES128-GCM-SHA256"


def test_ciphers(stack: Scratch) -> None:
    """In TLS 1.2 only forward secrecy with authenticated encryption will do."""
    assert handshake(stack, ssl.TLSVersion.TLSv1_2, WEAK) is None
    assert handshake(stack, ssl.TLSVersion.TLSv1_2, STRONG) == "TLSv1.2"


def test_http2(stack: Scratch) -> None:
    """HTTP/2 is chosen by those who offer it, and its Host and Origin are checked alike."""
    ask = ["curl", "--silent", "--insecure", "--http2", "--output", "-", "--write-out"]
    ask += ["%{http_version} %{http_code}", "--data", "username=test-http2&password=demo"]
    seen = []
    for more in (
        [],
        ["--header", f"Origin: {stack.https_url}"],
        ["--header", "Origin: https://evil.example"],
        ["--header", "Host: evil.example"],
    ):
        done = subprocess.run(
            [*ask, *more, f"{stack.https_url}/login"], capture_output=True, text=True, check=True
        )
        seen.append(done.stdout[-5:])

    assert seen == ["2 302", "2 302", "2 403", "2 421"]


def test_http2_needs_tls(stack: Scratch) -> None:
    """Over plain http nobody gets HTTP/2, also who begins with it."""
    with socket.create_connection(("127.0.0.1", stack.http_port), timeout=5) as raw:
        raw.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        answer = raw.recv(100)

    assert b"HTTP/1.1 " in answer


@pytest.fixture(scope="module")
def only() -> Iterator[Scratch]:
    """A stack with HTTPS_ONLY=1."""
    with scratch_stack(UPSTREAM, os.environ, HTTPS_ONLY="1") as stack:
        yield stack


def test_only_https(only: Scratch) -> None:
    """HTTPS_ONLY=1: plain http leads to the same address over https, a posted form too; no cookie is set."""
    form = {"username": "ann", "password": "demo"}
    with new_visitor(only.url) as plain:
        answers = [plain.get("/login?next=%2Fx"), plain.post("/login", data=form)]

    assert [answer.status_code for answer in answers] == [301, 301]
    assert answers[0].headers["Location"] == f"{only.https_url}/login?next=%2Fx"
    assert not any("Set-Cookie" in answer.headers for answer in answers)
    assert f"{only.https_url}/" in only.said
    assert f"{only.url}/" not in only.said


def test_only_https_trusts_no_host(only: Scratch) -> None:
    """Whatever Host plain http is asked for, it leads to a name of the certificate."""
    with new_visitor(only.url) as plain:
        hosts = ["evil.example", "evil.example:80", "localhost@evil.example", ""]
        answers = [plain.get("/", headers={"Host": host}) for host in hosts]

    assert {answer.headers.get("Location") for answer in answers} <= {
        f"https://localhost:{only.https_port}/",
        None,  # 400: no host name at all
    }
    assert answers[0].status_code == 301


def test_hsts(only: Scratch, browser: Visitor) -> None:
    """HTTPS_ONLY=1 tells browsers for a year, on https alone; without it nobody is told."""
    with (
        new_visitor(only.https_url, verify=trusting(only)) as secure,
        new_visitor(only.url) as plain,
    ):
        told = [
            secure.get(path).headers.get_list("Strict-Transport-Security") for path in ("/", "/no")
        ]
        untold = [client.get("/login").headers for client in (plain, browser)]

    assert told == [["max-age=31536000"]] * 2
    assert not any("Strict-Transport-Security" in headers for headers in untold)


def test_health_stays_plain(only: Scratch) -> None:
    """The health check of this machine is answered over http even then."""
    assert httpx.get(f"{only.url}/healthz", trust_env=False).status_code == 200


def test_given_certificate(start_stack: StartStack, tmp_path: Path) -> None:
    """TLS_CERT and TLS_KEY are what visitors get, its names are served, and a reload takes a renewed one over."""
    pair = make_pair(["shop.example"])
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(pair.chain)
    key.write_bytes(pair.key)
    stack = start_stack(TLS_CERT=str(chain), TLS_KEY=str(key))
    shown = ssl.get_server_certificate(("127.0.0.1", stack.https_port))
    with new_visitor(stack.https_url, verify=False) as browser:
        right, wrong = (
            browser.get("/login", headers={"Host": host}) for host in ("shop.example", "localhost")
        )

    assert shown.split() == pair.chain.decode().split()
    assert (right.status_code, wrong.status_code) == (200, 421)

    renewed = make_pair(["shop.example"])
    chain.write_bytes(renewed.chain)
    key.write_bytes(renewed.key)
    done(stack, "reload")

    wait_until(
        lambda: (
            ssl.get_server_certificate(("127.0.0.1", stack.https_port)).split()
            == renewed.chain.decode().split()
        ),
        seconds=10,
        what="the renewed certificate is shown",
    )


def test_key_is_private(stack: Scratch) -> None:
    """The key that was made is for its owner alone."""
    mode = (stack.folder / "state/https/key.pem").stat().st_mode

    assert stat.S_IMODE(mode) == 0o600
