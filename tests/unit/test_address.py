"""REDIS_URL: what each form means, and that whatever is not honoured is refused with its name."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from app.sessions import BadAddress, Pipeline, read_address
from app.sessions.wire.slots import slot_of


def test_forms() -> None:
    """Host, port, database, login, socket file, Sentinels and nodes stand where each form has them."""
    one = read_address("redis://ann:p%40ss%2F@h:1/3")
    assert (one.hosts, one.database, one.login) == ((("h", 1),), 3, ("ann", "p@ss/"))
    assert read_address("redis://:secret@[::1]").login == ("secret",)
    assert read_address("redis://[::1]:7").hosts == (("::1", 7),)
    file = read_address("unix://:secret@/run/my%20redis.sock?db=2")
    assert (file.path, file.database, file.login) == ("/run/my redis.sock", 2, ("secret",))
    watched = read_address("redis+sentinel://:a@s1:1,s2,s3/mymaster/4?sentinel_password=b")
    assert watched.hosts == (("s1", 1), ("s2", 26379), ("s3", 26379))
    assert (watched.master, watched.database) == ("mymaster", 4)
    assert (watched.login, watched.sentinel_login) == (("a",), ("b",))
    assert read_address("redis+cluster://n1,n2:7").hosts == (("n1", 6379), ("n2", 7))


def test_tls() -> None:
    """The forms with `rediss` check certificate and name, unless told otherwise; the others use none."""
    for plain in ("redis://h", "redis+sentinel://h/m", "redis+cluster://h"):
        assert read_address(plain).tls is None
        strict = read_address(plain.replace("redis", "rediss", 1)).tls
        assert strict is not None
        assert (strict.verify_mode, strict.check_hostname) == (ssl.CERT_REQUIRED, True)
    no_names = read_address("rediss://h?ssl_check_hostname=false").tls
    assert no_names is not None
    assert (no_names.verify_mode, no_names.check_hostname) == (ssl.CERT_REQUIRED, False)
    nothing = read_address("rediss://h?ssl_cert_reqs=none").tls
    assert nothing is not None
    assert (nothing.verify_mode, nothing.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("h:6379", "begins with none of redis, unix"),
        ("http://h", "begins with none of"),
        ("redis://", "no host name"),
        ("redis://a..b:6379", "no host name"),
        ("redis://h:x", "port that is no number"),
        ("redis://h:0", "port that is not from 1"),
        ("redis://h:70000", "port that is not from 1"),
        ("redis://[::1]6379", "port that is no number"),
        ("redis://h/abc", "database 'abc', which is no number"),
        ("redis://h/-1", "database '-1', which is no number"),
        ("redis://h/1?db=2", "keep one"),
        ("redis://h1,h2", "several hosts"),
        ("redis://:pass#word@h", "has a #"),
        ("unix://", "names no socket file"),
        ("unix://run/redis.sock", "a host before the path"),
        ("redis+sentinel://h1,h2", "does not name the master"),
        ("redis+cluster://h/1", "a cluster has none but 0"),
        ("redis+cluster://h?db=0", "parameter db;"),
        ("redis://h?max_connections=50", "parameter max_connections;"),
        ("redis://h?socket_timeout=1", "parameter socket_timeout;"),
        ("redis://h?ssl_certfile=/x", "parameter ssl_certfile, which needs rediss"),
        ("redis://h?sentinel_password=x", "parameter sentinel_password;"),
        ("rediss://h?ssl_min_version=3", "parameter ssl_min_version;"),
        ("rediss://h?ssl_keyfile=/x", "ssl_keyfile without ssl_certfile"),
        ("rediss://h?ssl_ca_certs=/nowhere", "file in ssl_ca_certs that cannot be used"),
        ("rediss://h?ssl_certfile=/nowhere", "file in ssl_certfile"),
        ("rediss://h?ssl_cert_reqs=optional", "ssl_cert_reqs that is neither"),
        ("rediss://h?ssl_check_hostname=2", "ssl_check_hostname that is neither"),
        ("rediss://h?ssl_ca_certs=", "ssl_ca_certs without a value"),
        ("redis://h?db=1&db=1", "a parameter twice"),
    ],
)
def test_refused(url: str, said: str) -> None:
    """A URL is refused when the engine is made, and the error says which part."""
    with pytest.raises(BadAddress, match=said):
        Pipeline(url, timeout_seconds=1)


def test_no_password_is_shown() -> None:
    """Neither an error nor the address itself shows a password."""
    for url in ("redis://:hunter2@h/x", "redis://:hunter2@h?x=1", "redis://:hunter2@a..b"):
        with pytest.raises(BadAddress) as caught:
            read_address(url)
        assert "hunter2" not in str(caught.value)
    both = "redis+sentinel://u:hunter2@h/m?sentinel_password=hunter2"
    assert "hunter2" not in repr(read_address(both))


def test_locked_key(tmp_path: Path) -> None:
    """A key with a password is refused, rather than asking whoever started the worker for it."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
    )

    key = ec.generate_private_key(ec.SECP256R1())
    lock = BestAvailableEncryption(b"x")
    (tmp_path / "k").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
    with pytest.raises(BadAddress, match="ssl_certfile or ssl_keyfile"):
        read_address(f"rediss://h?ssl_certfile={tmp_path}/k&ssl_keyfile={tmp_path}/k")


def test_slots() -> None:
    """Slots are those of the specification: 12739 for 123456789; a tag in braces alone counts."""
    assert slot_of("123456789") == 0x31C3
    assert slot_of("user:{ab}:x") == slot_of(b"ab") == slot_of("session:{ab}:y")
    assert slot_of("{}x") != slot_of("{}y")
