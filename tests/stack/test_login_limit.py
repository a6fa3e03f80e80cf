"""The limit on passwords tried from one address."""

from __future__ import annotations

import uuid
from pathlib import Path

import httpx
import pytest

from deploy.https import read_https, write_https
from deploy.native.scratch import Scratch
from lab.testbed.second_nginx import replaced, second_nginx
from tests.stack.conftest import NOBODY_EXEMPT, ChangedNginx
from tests.stack.visitor import Visitor, new_visitor

pytestmark = pytest.mark.native
BURST = 10  # as in site.conf
TRIES = 14


def try_passwords(visitor: Visitor) -> list[httpx.Response]:
    """One wrong password for each of many names, so that no account's own limit is met."""
    names = [f"test-limit-{uuid.uuid4().hex}" for _ in range(TRIES)]
    return [visitor.post("/login", data={"username": n, "password": "wrong"}) for n in names]


def test_guessing_is_slowed_down(changed_nginx: ChangedNginx) -> None:
    """After a burst of passwords an address gets 429 with Retry-After; looking at the form stays free."""
    url = changed_nginx(*NOBODY_EXEMPT)
    with new_visitor(url) as visitor:
        answers = try_passwords(visitor)
        form = visitor.get("/login")

    statuses = [answer.status_code for answer in answers]
    assert statuses[: BURST + 1] == [401] * (BURST + 1)
    assert statuses[-1] == 429
    assert answers[-1].headers.get_list("Retry-After") == ["2"]
    assert "<h1>Too Many Requests</h1>" in answers[-1].text
    assert form.status_code == 200


def test_this_machine_is_exempt(visitor: Visitor) -> None:
    """The load test's network is not counted, or the load test would measure the limit."""
    assert [answer.status_code for answer in try_passwords(visitor)] == [401] * TRIES


@pytest.mark.parametrize(("address", "last"), [("127.0.0.9", 401), ("127.0.0.1", 429)])
def test_exempt_networks(stack: Scratch, tmp_path: Path, address: str, last: int) -> None:
    """With EXEMPT_NETWORKS exactly the addresses in it are not counted, and this machine's own are."""
    write_https(read_https({"EXEMPT_NETWORKS": "127.0.0.9, 2001:db8::/32"}), tmp_path / "https")
    exempt = replaced(f"{stack.state}/https/exempt.conf", f"{tmp_path}/https/exempt.conf")
    transport = httpx.HTTPTransport(local_address=address)
    with (
        second_nginx(stack, tmp_path, {"limits.conf": exempt}) as at,
        new_visitor(at.url, transport=transport) as visitor,
    ):
        assert try_passwords(visitor)[-1].status_code == last


@pytest.mark.parametrize(
    ("address", "last"),
    [("127.0.0.1", 401), ("::1", 401), ("172.18.0.9", 429), ("192.168.0.1", 429)],
)
def test_only_this_machine_is_exempt(changed_nginx: ChangedNginx, address: str, last: int) -> None:
    """Without the setting no network but loopback is, and no private one."""
    with new_visitor(changed_nginx(*NOBODY_EXEMPT), headers={"X-Address": address}) as visitor:
        assert try_passwords(visitor)[-1].status_code == last
