"""Which passwords `make user` takes: the reason of a refusal is said, and the password never."""

from __future__ import annotations

import pytest

from deploy.native.passwords import check_password, common
from deploy.refused import Refused

HOSTS = ("shop.example.com", "*.intranet", "192.0.2.7")
COMMON = ["Passw0rd", "12345678", "Trustno1", "1QAZ2wsx", "greyhoun"]
OF_THE_SITE = [
    "ann-marie", "AnnMarie2026", "annmarie annmarie", "shop2026!", "Example-1", "intranet-2", "192.0.2.7",
    "RoundRobin1", "round robin 26", "tornadoredis", "annpassword",
]  # fmt: skip


@pytest.mark.parametrize("password", COMMON)
def test_common(password: str) -> None:
    """A password that everybody tries first is refused, in whatever case, and the message says why and what to do."""
    with pytest.raises(Refused, match=r"most common ones.*openssl rand") as refused:
        check_password(password, "ann", HOSTS)
    assert password not in str(refused.value)


@pytest.mark.parametrize("password", OF_THE_SITE)
def test_of_the_site(password: str) -> None:
    """So is one that is little more than the account's name, a host name or the product's."""
    with pytest.raises(Refused, match=r"a word of this site \(.*robin") as refused:
        check_password(password, "Ann Marie", HOSTS)
    assert password not in str(refused.value)


@pytest.mark.parametrize("length", [0, 7, 1025])
def test_length(length: int) -> None:
    """Fewer than 8 characters and more than 1,024 are refused."""
    with pytest.raises(Refused, match=f"8 to 1024 characters, and this one {length}"):
        check_password("x" * length, "ann")


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "gänseblümchen 7",
        "x" * 1024,
        "ann and three other words",
        "u8#kQp2!",
    ],
)
def test_taken(password: str) -> None:
    """Any other one is taken, whatever it is made of, and also one that a word of the site is part of."""
    check_password(password, "ann", HOSTS)


def test_list() -> None:
    """The list has more than the 3,000 most common passwords of those that are long enough."""
    assert len([one for one in common() if len(one) >= 8]) > 3000
