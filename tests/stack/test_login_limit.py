"""The limit on passwords tried from one address."""

from __future__ import annotations

import uuid

import httpx
import pytest

from tests.stack.conftest import ChangedNginx
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
    url = changed_nginx("limits.conf", "    127.0.0.0/8 1;\n", "")
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


@pytest.mark.parametrize(
    ("address", "last"), [("192.168.176.1", 401), ("192.168.176.5", 429), ("192.0.2.1", 429)]
)
def test_dockers_gateway_is_exempt(changed_nginx: ChangedNginx, address: str, last: int) -> None:
    """From Docker's second pool of addresses only the gateway is not counted."""
    url = changed_nginx(
        "limits.conf", 'map "$exempt_network $remote_addr"', 'map "0 $http_x_address"'
    )
    with new_visitor(url, headers={"X-Address": address}) as visitor:
        assert try_passwords(visitor)[-1].status_code == last
