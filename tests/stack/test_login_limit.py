"""The limit on passwords tried from one address."""

from __future__ import annotations

import ipaddress
import random
import uuid
from collections.abc import Iterator, Sequence
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


def try_passwords(visitor: Visitor, addresses: Sequence[str] = ()) -> list[httpx.Response]:
    """One wrong password for each of many names, so that no account's own limit is met.

    Each from one of `addresses`, which the nginx of `behind_proxy` believes.
    """
    names = [f"test-limit-{uuid.uuid4().hex}" for _ in range(TRIES)]
    headers = [{"X-Forwarded-For": address} for address in addresses] or [{}] * TRIES
    return [
        visitor.post("/login", data={"username": name, "password": "wrong"}, headers=header)
        for name, header in zip(names, headers, strict=True)
    ]


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


@pytest.fixture(scope="module")
def behind_proxy(stack: Scratch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An nginx that believes what addresses this test claims, and tells at /livez whom it counts."""
    folder = tmp_path_factory.mktemp("networks")
    write_https(read_https({"TRUSTED_PROXIES": "127.0.0.1"}), folder / "https")
    changes = {
        "tls.conf": replaced(f"{stack.state}/https/site.conf", f"{folder}/https/site.conf"),
        "site.conf": replaced(
            "/livez { return 404; }", '/livez { return 200 "$remote_addr $who"; }'
        ),
    }
    with second_nginx(stack, folder, changes) as at:
        yield at.url


def some_addresses() -> Iterator[ipaddress.IPv6Address]:
    """Each way in which some of eight groups are zero, twice, and as many without a pattern."""
    dice = random.Random(64)
    for pattern in range(512):
        groups = [
            dice.choice((1, 0x10, 0xABC, 0xFFFF)) if pattern >> n & 1 else 0 for n in range(8)
        ]
        yield ipaddress.IPv6Address(":".join(f"{group:x}" for group in groups))
        yield ipaddress.IPv6Address(dice.getrandbits(128))


def test_whom_nginx_counts(behind_proxy: str) -> None:
    """Of IPv6 exactly the /64 counts, however its addresses are written; IPv4 and what begins with :: by itself."""
    counted: dict[str, set[str]] = {}
    with new_visitor(behind_proxy) as visitor:
        for address in [*some_addresses(), ipaddress.IPv4Address("192.0.2.7")]:
            answer = visitor.get("/livez", headers={"X-Forwarded-For": str(address)})
            shown, who = answer.text.split()
            whole = shown.startswith("::") or address.version == 4
            network = ipaddress.ip_network(
                (address, address.max_prefixlen if whole else 64), strict=False
            )
            counted.setdefault(str(network), set()).add(who)

    assert {len(found) for found in counted.values()} == {1}
    assert len({who for found in counted.values() for who in found}) == len(counted)


@pytest.mark.parametrize(("form", "last"), [("2001:db8::{:x}", 429), ("2001:db8:0:{:x}::1", 401)])
def test_a_network_is_one_visitor(behind_proxy: str, form: str, last: int) -> None:
    """Who changes the address within his /64 meets the limit all the same; other networks do not."""
    with new_visitor(behind_proxy) as visitor:
        answers = try_passwords(visitor, [form.format(n + 1) for n in range(TRIES)])

    assert answers[-1].status_code == last
