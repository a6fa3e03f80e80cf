"""What `make status` says of OpenSSL: versions, their last day, and a warning after it."""

from __future__ import annotations

from datetime import date

import pytest

from deploy.openssl import openssl_facts, openssl_line, openssl_warnings

WHEEL = (
    "nginx version: nginx/1.31.3\nbuilt with OpenSSL 3.3.7 7 Apr 2026\nTLS SNI support enabled\n"
)
DEBIAN = "built with OpenSSL 3.5.1 1 Jul 2025 (running with OpenSSL 3.5.4 30 Sep 2025)\n"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (WHEEL, "nginx 3.3.7 (until 2026-04-09)"),
        (DEBIAN, "nginx 3.5.4 (until 2030-04-08)"),
        ("OpenSSL 1.1.1w  11 Sep 2023", "nginx 1.1.1w (until 2023-09-11)"),
        ("OpenSSL 9.9.0 1 Jan 2040", "nginx 9.9.0 (until ?)"),
        ("built with LibreSSL 3.8.2", "nginx none"),
    ],
)
def test_shown(said: str, shown: str) -> None:
    """The version that runs, not the one that it was built with, and the last day of its branch."""
    assert openssl_line(openssl_facts({"nginx": said})) == shown


def test_warned_after_the_last_day() -> None:
    """Past the last day there is a warning with program, version and day; on it there is none."""
    facts = openssl_facts({"nginx": WHEEL, "Python": DEBIAN})

    (warning,) = openssl_warnings(facts, date(2026, 4, 10))
    assert "OpenSSL 3.3.7 in nginx has had no fixes since 2026-04-09" in warning
    assert list(openssl_warnings(facts, date(2026, 4, 9))) == []
