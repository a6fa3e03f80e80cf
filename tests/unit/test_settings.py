"""Settings: defaults, bounds, files for secrets, and what production refuses."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from app.sessions import Limits
from app.settings import COOKIE_NAME, Settings, SettingsError, read_settings

SECRET = "s" * 40
HERE = Path(__file__).parents[2]


def read(**environ: str) -> Settings:
    return read_settings({"SESSION_SECRETS": SECRET} | environ)


def test_defaults() -> None:
    """Without settings the lifetimes and caps are the engine's own."""
    settings = read()
    assert settings.limits == Limits()
    assert (settings.redis_url, settings.redis_timeout_seconds) == ("redis://127.0.0.1:6379/0", 0.5)
    assert (settings.demo_password, settings.demo_endpoints, settings.production) == (
        "demo",
        True,
        False,
    )


def test_lifetimes_in_the_readme() -> None:
    """README tells the two lifetimes that hold when nothing is set."""
    told = re.findall(r"`(SESSION_\w+_SECONDS)` \((\d+)\)", (HERE / "README.md").read_text())
    limits = read().limits
    assert {name: int(seconds) for name, seconds in told} == {
        "SESSION_IDLE_SECONDS": limits.idle_seconds,
        "SESSION_ABSOLUTE_SECONDS": limits.absolute_seconds,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name in (
            "REDIS_TIMEOUT_SECONDS", "SESSION_IDLE_SECONDS", "SESSION_ABSOLUTE_SECONDS",
            "SESSION_TOUCH_SECONDS", "SESSION_RENEW_SECONDS", "SESSION_RENEW_GRACE_SECONDS",
            "SESSION_MAX_PER_USER", "SESSION_MAX_BYTES", "SESSION_MAX_FIELDS", "DRAIN_SECONDS",
            "EVENTS_HEARTBEAT_SECONDS", "SESSION_WRITES_ACKNOWLEDGED_BY",
        )
        for value in ("-1", "x", "nan", "inf", "1e99", "1,5", "0x10", "٣", "1_0")
    ],
)  # fmt: skip
def test_numbers(name: str, value: str) -> None:
    """A number that is none, or out of bounds, is refused with the variable's name and the value."""
    with pytest.raises(SettingsError, match=f"^{name}={re.escape(value)} "):
        read(**{name: value})


def test_empty_is_unset() -> None:
    """An empty value means the default, as in an .env file with nothing after the sign."""
    assert read(SESSION_IDLE_SECONDS="", DEMO_PASSWORD="", APP_ENV="", REDIS_URL="") == read()


@pytest.mark.parametrize(
    ("word", "meant"), [("1", True), ("on", True), ("No", False), ("0", False)]
)
def test_flags(word: str, meant: bool) -> None:
    """A flag is 1 or 0, or a word for it."""
    assert read(DEMO_ENDPOINTS=word).demo_endpoints is meant


def test_cookie_name() -> None:
    """A cookie's name is letters, digits, - and _; what would not be one, or is a prefix, is refused."""
    assert read().session_cookie_name == COOKIE_NAME
    assert read(SESSION_COOKIE_NAME="shop-1").session_cookie_name == "shop-1"
    for name in ("a b", "a=b", "a;b", "é", "__Host-sid", "__secure-sid", "a" * 65):
        with pytest.raises(SettingsError, match=rf"^SESSION_COOKIE_NAME={re.escape(name)} "):
            read(SESSION_COOKIE_NAME=name)


def test_secrets() -> None:
    """Secrets are separated by commas or lines; the first stays first."""
    assert read(SESSION_SECRETS=" a , b,\nc\n").session_secrets == ("a", "b", "c")
    with pytest.raises(SettingsError, match="twice"):
        read(SESSION_SECRETS="a,b,a")


def test_secret_files(tmp_path: Path) -> None:
    """Each secret may come from a file, without the line break at its end."""
    for name in ("SESSION_SECRETS", "DEMO_PASSWORD", "REDIS_URL"):
        (tmp_path / name).write_text("redis://h:1/2\n")
    settings = read_settings(
        {
            f"{name}_FILE": str(tmp_path / name)
            for name in ("SESSION_SECRETS", "DEMO_PASSWORD", "REDIS_URL")
        }
    )
    assert settings.session_secrets == ("redis://h:1/2",)
    assert settings.demo_password == settings.redis_url == "redis://h:1/2"
    with pytest.raises(SettingsError, match="SESSION_SECRETS and SESSION_SECRETS_FILE"):
        read(SESSION_SECRETS_FILE=str(tmp_path / "SESSION_SECRETS"))
    with pytest.raises(SettingsError, match=r"REDIS_URL_FILE=.* cannot be read"):
        read(REDIS_URL_FILE=str(tmp_path / "missing"))


def test_redis_url() -> None:
    """What cannot be used is refused by name, without repeating a password; tests of the wire try each form."""
    assert read(REDIS_URL="redis://:p%2Fw@h:1/2").redis_url == "redis://:p%2Fw@h:1/2"
    for url in ("h:6379", "redis://u:hunter2#x@h", "redis://:hunter2/x@h", "redis://h?timeout=1"):
        with pytest.raises(SettingsError, match=r"^REDIS_URL ") as caught:
            read(REDIS_URL=url)
        assert "hunter2" not in str(caught.value)


def test_renewal_and_grace() -> None:
    """An id has to live longer than the grace of the one before it."""
    with pytest.raises(SettingsError, match="SESSION_RENEW_SECONDS=10 must be longer"):
        read(SESSION_RENEW_SECONDS="10")
    assert read(SESSION_RENEW_SECONDS="11").limits.renew_seconds == 11


def test_secrets_do_not_print() -> None:
    """Settings do not show secrets when they are printed."""
    assert SECRET not in repr(read(REDIS_URL="redis://:hunter2@h"))
    assert "hunter2" not in repr(read(REDIS_URL="redis://:hunter2@h"))


def test_demo_secret_is_kept(tmp_path: Path) -> None:
    """The demo secret is made once, readable for its owner only, and read again afterwards."""
    environ = {"STACK_DIR": str(tmp_path / "deep" / "state")}
    first, second = read_settings(environ), read_settings(environ)
    path = tmp_path / "deep/state/session-secret"
    assert first.session_secrets == second.session_secrets == (path.read_text().strip(),)
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["session-secret"]


def test_only_reader_of_the_environment() -> None:
    """No other file of the app reads the environment."""
    readers = [
        path.name
        for path in (HERE / "app").rglob("*.py")
        if re.search(r"environ(?!\.setdefault)|getenv", path.read_text())
    ]
    assert readers == ["settings.py"]


@pytest.mark.parametrize("prefix", ["{a}", "a b", "é:", "a" * 65])
def test_prefix(prefix: str) -> None:
    """A prefix with braces, which choose a node of a cluster, or with blanks is refused."""
    assert read(SESSION_PREFIX="shop:").session_prefix == "shop:"
    with pytest.raises(SettingsError, match="SESSION_PREFIX="):
        read(SESSION_PREFIX=prefix)


@pytest.mark.parametrize(
    ("environ", "exporter"),
    [
        ({}, ""),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}, ""),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "True"}, ""),
    ],
)
def test_traces(environ: dict[str, str], exporter: str) -> None:
    """OpenTelemetry's variables switch traces on and off as its specification has them; unset, they are off."""
    assert read(**environ).traces == exporter


def test_traces_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter or a protocol that is not there is refused, and so are traces without OpenTelemetry."""
    for name, value in (
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ):
        with pytest.raises(SettingsError, match=f"^{name}={value} must be "):
            read(**({"OTEL_TRACES_EXPORTER": "otlp"} | {name: value}))
    monkeypatch.setattr("app.settings.find_spec", lambda name: None)
    with pytest.raises(
        SettingsError, match=r"^OTEL_TRACES_EXPORTER=otlp needs OpenTelemetry: `make "
    ):
        read(OTEL_TRACES_EXPORTER="otlp")
