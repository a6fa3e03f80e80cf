"""Where a login may lead: a path on this site, never another site."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.handlers.login import local_path


@pytest.mark.parametrize("path", ["/", "/devices", "/a?b=c&d=%20#e", "/a:b@c", "/~x/(y)"])
def test_kept(path: str) -> None:
    """A plain path on this site is kept as it is."""
    assert local_path(path) == path


@pytest.mark.parametrize(
    "text",
    [
        "", "devices", "//evil.example", "///evil.example", "/\\evil.example", "\\/evil.example",
        "https://evil.example", "javascript:alert(1)", "/\t/evil.example", "/\n/evil.example", " //evil.example",
        "/\x00", "/\u2028", "/" + "a" * 2048, "/a\\b", "http:/evil.example", "/\r\nSet-Cookie: a=b",
    ],
)  # fmt: skip
def test_refused(text: str) -> None:
    """Whatever a browser might read as another site, or a header as its end, leads to the main page."""
    assert local_path(text) == "/"


def test_other_scripts() -> None:
    """A path in another script is percent-encoded for the header."""
    assert local_path("/é") == "/%C3%A9"


@given(st.text(max_size=60) | st.text(alphabet="/\\.:@\t\n evil?#%", max_size=12))
def test_never_elsewhere(text: str) -> None:
    """Whatever was asked for, the browser stays on this site."""
    path = local_path(text)
    assert urlsplit(urljoin("http://here.example/login", path)).netloc == "here.example"
    assert path.isascii()
    assert path.isprintable()
