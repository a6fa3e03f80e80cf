"""Another proxy in front of nginx: TRUSTED_PROXIES are believed what they say of the visitor, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from app.settings import COOKIE_NAME
from deploy.https import read_https, write_https
from deploy.native.scratch import Scratch
from lab.testbed.second_nginx import replaced, second_nginx
from tests.stack.test_login_limit import try_passwords
from tests.stack.visitor import Visitor, new_visitor

pytestmark = pytest.mark.native
PROXY, STRANGER = "127.0.0.9", "127.0.0.1"  # from where requests come
SETTINGS = {
    "TRUSTED_PROXIES": f"{PROXY}, 10.0.0.0/8",
    "ALLOWED_HOSTS": "shop.example",
    "HTTPS_ONLY": "1",
}
HTTPS = {"Host": "shop.example", "X-Forwarded-Proto": "https"}
HTTP = {"Host": "shop.example", "X-Forwarded-Proto": "http"}
ADDRESS = "203.0.113.7"  # of a visitor, RFC 5737


@pytest.fixture(scope="module")
def url(stack: Scratch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An nginx with SETTINGS before the workers of the shared stack."""
    folder = tmp_path_factory.mktemp("proxies")
    write_https(read_https(SETTINGS), folder / "https")
    changes = {"tls.conf": replaced(f"{stack.state}/https/site.conf", f"{folder}/https/site.conf")}
    with second_nginx(stack, folder, changes) as at:
        yield at.url


@contextmanager
def visitor_through(url: str, source: str, headers: dict[str, str]) -> Iterator[Visitor]:
    """A visitor whose requests reach nginx from `source` with these headers."""
    transport = httpx.HTTPTransport(local_address=source)
    with new_visitor(url, transport=transport, headers=headers) as visitor:
        yield visitor


def cookie_pair(answer: httpx.Response) -> str:
    return answer.headers["Set-Cookie"].partition(";")[0]


def address_shown(visitor: Visitor) -> str:
    """Log in, and see where the application says that this was."""
    logged_in = visitor.log_in("proxied")
    cookie = {"Cookie": cookie_pair(logged_in)}  # the jar would not send a Secure cookie over http
    (device,) = (
        one
        for one in visitor.get("/api/devices", headers=cookie).json()["devices"]
        if one["current"]
    )
    return str(device["address"])


def test_https_ends_at_the_proxy(url: str) -> None:
    """Behind a proxy that ends https the cookie is Secure and __Host-, and HTTPS_ONLY=1 does not redirect."""
    with visitor_through(url, PROXY, HTTPS) as visitor:
        form = visitor.get("/login")
        cookie = visitor.log_in().headers["Set-Cookie"]

    assert form.status_code == 200
    assert form.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert cookie.startswith(f"__Host-{COOKIE_NAME}=")
    assert "; Secure" in cookie


def test_http_at_the_proxy(url: str) -> None:
    """What came to the proxy over http is sent to https once, under the site's name and the standard port."""
    with visitor_through(url, PROXY, HTTP) as visitor:
        answer = visitor.get("/login?next=%2Fx")

    assert answer.status_code == 301
    assert answer.headers["Location"] == "https://shop.example/login?next=%2Fx"


def test_other_names_are_refused(url: str) -> None:
    """A proxy's word on https opens no name that ALLOWED_HOSTS has not, and leads to none."""
    evil = {"Host": "evil.example"}
    with visitor_through(url, PROXY, HTTPS) as visitor:
        secure = visitor.get("/login", headers=evil)
        plain = visitor.get("/login", headers=evil | {"X-Forwarded-Proto": "http"})

    assert secure.status_code == 421
    assert "evil.example" not in plain.headers["Location"]


@pytest.mark.parametrize("proto", ["https, http", "gopher", "https://", ""])
def test_only_one_plain_scheme(url: str, proto: str) -> None:
    """Of a trusted proxy, too, what is no scheme counts for nothing."""
    with visitor_through(url, PROXY, HTTPS) as visitor:
        status = visitor.get("/login", headers={"X-Forwarded-Proto": proto}).status_code

    assert status == 301


def test_strangers_are_not_believed(url: str, site: str) -> None:
    """From any other network both headers count for nothing: http stays http, and the address is the true one."""
    forged = {"X-Forwarded-Proto": "https", "X-Forwarded-For": ADDRESS}
    with visitor_through(url, STRANGER, HTTPS | forged) as visitor:
        redirected = visitor.get("/login")
    with visitor_through(site, STRANGER, forged) as visitor:
        cookie = visitor.log_in().headers["Set-Cookie"]
        address = address_shown(visitor)

    assert redirected.status_code == 301
    assert cookie.startswith(f"{COOKIE_NAME}=")
    assert "; Secure" not in cookie
    assert address == STRANGER


@pytest.mark.parametrize(
    "forwarded",
    [ADDRESS, f"127.0.0.1, {ADDRESS}", f"{ADDRESS}, 10.1.2.3", f"10.9.9.9, {ADDRESS}, 10.1.2.3"],
)
def test_visitors_address(url: str, forwarded: str) -> None:
    """The visitor's address is the last in X-Forwarded-For that is no proxy's: what a visitor writes before it is not."""
    with visitor_through(url, PROXY, HTTPS | {"X-Forwarded-For": forwarded}) as visitor:
        assert address_shown(visitor) == ADDRESS


def test_login_limit_counts_visitors(url: str) -> None:
    """The login limit is each visitor's own: one who guesses uses up nobody else's."""
    with visitor_through(url, PROXY, HTTPS | {"X-Forwarded-For": "203.0.113.8"}) as guesser:
        guesses = try_passwords(guesser)
    with visitor_through(url, PROXY, HTTPS | {"X-Forwarded-For": "203.0.113.9"}) as other:
        first = try_passwords(other)[0]

    assert guesses[-1].status_code == 429
    assert first.status_code == 401
