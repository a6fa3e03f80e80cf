"""Every setting of a worker, read once from the environment; nothing else reads os.environ.

Wrong and missing values stop the start, all of them at once, each with a sentence that names the variable.
`.env.example` is the manual.
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from app.accounts import UsersFileError, read_users
from app.sessions import BadAddress, Limits, read_address

NGINX_SECRET_FORM = re.compile(r"([A-Za-z0-9_-]{32,128})?")
PREFIX_FORM = re.compile(r"[A-Za-z0-9_.:-]{0,64}")
T = TypeVar("T")
N = TypeVar("N", int, float)
SECRET_NAMES = ("SESSION_SECRETS", "DEMO_PASSWORD", "REDIS_URL", "NGINX_SECRET")
COOKIE_NAME = "sid"  # unless SESSION_COOKIE_NAME says another
MIN_SECRET_CHARACTERS = 32
OTLP_PROTOCOL = "http/protobuf"


class SettingsError(Exception):
    """A setting is missing or cannot be used; the text names it and says what to do.

    `problems` are several such sentences, where several settings are wrong.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Settings:
    """What a worker was told.  Durations carry their unit in the name; secrets never print."""

    production: bool
    redis_url: str
    redis_timeout_seconds: float
    session_secrets: tuple[str, ...]
    session_cookie_name: str
    nginx_secret: str  # of requests that come through nginx; empty: all do
    limits: Limits  # of sessions
    writes_acknowledged_by: int  # replicas
    session_prefix: str
    demo_password: str | None
    demo_endpoints: bool
    users_file: Path | None
    stack_dir: Path
    login_tries: int
    served_by: bool
    drain_seconds: float
    page_seconds: float
    watchdog_seconds: float
    events_heartbeat_seconds: float
    traces: str  # "otlp", "console", or empty: none

    def __repr__(self) -> str:
        return f"Settings(production={self.production})"

    def shown(self) -> dict[str, Any]:
        """What may be written down: names, numbers and switches.  Other texts may be secrets, and stay out."""
        values = {**vars(self), **vars(self.limits)}
        names = ("session_cookie_name", "session_prefix", "users_file", "stack_dir")
        figures = {k: v for k, v in values.items() if isinstance(v, bool | int | float)}
        return figures | {name: str(values[name]) for name in names if values[name]}


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in `environ`, or SettingsError with the name of each that is wrong or missing."""
    env = _Reader(environ)
    values = env.values
    production = env.choice("APP_ENV", "demo", ("demo", "production")) == "production"
    users_file = values.get("USERS_FILE") or None
    settings = Settings(
        production=production,
        redis_url=env.kept(lambda: _redis_url(values), ""),
        redis_timeout_seconds=env.number("REDIS_TIMEOUT_SECONDS", 0.5, least=0.05, most=0.9),
        session_secrets=()
        if "SESSION_SECRETS" in env.unread
        else env.kept(lambda: _session_secrets(values, production), ()),
        session_cookie_name=env.kept(lambda: _cookie_name(values), COOKIE_NAME),
        nginx_secret=env.secret("NGINX_SECRET", NGINX_SECRET_FORM),
        limits=_limits(env),
        writes_acknowledged_by=env.count("SESSION_WRITES_ACKNOWLEDGED_BY", 0, least=0, most=5),
        session_prefix=env.text("SESSION_PREFIX", "", PREFIX_FORM),
        demo_password=values.get("DEMO_PASSWORD") or (None if production else "demo"),
        demo_endpoints=env.flag("DEMO_ENDPOINTS", default=not production),
        users_file=Path(users_file) if users_file else None,
        stack_dir=Path(values.get("STACK_DIR") or ".stack"),
        login_tries=env.count("LOGIN_TRIES", 10, least=0, most=1000),
        served_by=env.flag("SERVED_BY", default=True),
        drain_seconds=env.number("DRAIN_SECONDS", 10, least=1, most=300),
        page_seconds=env.number("PAGE_SECONDS", 60, least=1, most=3600),
        watchdog_seconds=env.number("WATCHDOG_SECONDS", 20, least=0, most=3600),
        events_heartbeat_seconds=env.number("EVENTS_HEARTBEAT_SECONDS", 15, least=0.1, most=600),
        traces=env.kept(lambda: _traces(values), ""),
    )
    problems = [*env.problems, *_problems_of_production(settings)]
    if problems:
        raise SettingsError(*problems)
    return settings


def _cookie_name(values: Mapping[str, str]) -> str:
    name = values.get("SESSION_COOKIE_NAME") or COOKIE_NAME
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) or name.lower().startswith("__"):
        raise SettingsError(
            f"SESSION_COOKIE_NAME={name} must be letters, digits, - and _, without __ at its beginning "
            "(https adds __Host-)"
        )
    return name


def _traces(values: Mapping[str, str]) -> str:
    """Where OpenTelemetry's own variables say that spans go; nowhere where none of them is set."""
    by_default = "otlp" if values.get("OTEL_EXPORTER_OTLP_ENDPOINT") else "none"
    name = values.get("OTEL_TRACES_EXPORTER") or by_default
    if name == "none" or values.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return ""
    if name not in ("otlp", "console"):
        raise SettingsError(f"OTEL_TRACES_EXPORTER={name} must be otlp, console or none")
    protocol = values.get("OTEL_EXPORTER_OTLP_PROTOCOL") or OTLP_PROTOCOL
    if name == "otlp" and protocol != OTLP_PROTOCOL:
        raise SettingsError(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol} must be {OTLP_PROTOCOL}")
    if find_spec("opentelemetry") is None:
        raise SettingsError(
            f"OTEL_TRACES_EXPORTER={name} needs OpenTelemetry: `make .venv/traces` installs it, and in Docker "
            "`docker compose build app` once it is set"
        )
    return name


def _limits(env: _Reader) -> Limits:
    renew = env.number("SESSION_RENEW_SECONDS", 0, least=0)
    grace = env.number("SESSION_RENEW_GRACE_SECONDS", 10, least=1)
    if renew and renew <= grace:
        env.problems.append(
            f"SESSION_RENEW_SECONDS={renew:g} must be longer than SESSION_RENEW_GRACE_SECONDS"
            f"={grace:g}, or a session would have three good ids"
        )
        renew = 0
    return Limits(
        idle_seconds=env.number("SESSION_IDLE_SECONDS", 1800, least=1),
        absolute_seconds=env.number("SESSION_ABSOLUTE_SECONDS", 43200, least=1),
        touch_seconds=env.number("SESSION_TOUCH_SECONDS", 60, least=0),
        renew_seconds=renew,
        renew_grace_seconds=grace,
        max_per_user=env.count("SESSION_MAX_PER_USER", 5, least=1, most=1000),
        max_bytes=env.count("SESSION_MAX_BYTES", 16384, least=256, most=1 << 20),
        max_fields=env.count("SESSION_MAX_FIELDS", 64, least=1, most=1024),
    )


def _problems_of_production(settings: Settings) -> Iterator[str]:
    if not settings.production:
        return
    if settings.demo_password is not None:
        yield "DEMO_PASSWORD is set, but APP_ENV=production has no demo login: unset it"
    if settings.demo_endpoints:
        yield "DEMO_ENDPOINTS is on, but APP_ENV=production must not offer /slow: unset it"
    if settings.users_file is None:
        yield "USERS_FILE is not set: APP_ENV=production needs accounts (make user NAME=...)"
    else:
        yield from _problem_of_users(settings.users_file)


def _problem_of_users(path: Path) -> Iterator[str]:
    try:
        if not read_users(path):
            yield f"USERS_FILE={path} has no users: make user NAME=..."
    except UsersFileError as error:
        yield f"USERS_FILE: {error}"


def _redis_url(values: Mapping[str, str]) -> str:
    """Where Redis is.  The text of an error never repeats it: it may hold a password."""
    url = values.get("REDIS_URL") or "redis://127.0.0.1:6379/0"
    try:
        read_address(url)
    except BadAddress as error:
        remedy = "write /, # and @ of a password as %2F, %23 and %40"
        raise SettingsError(f"REDIS_URL {error} (docs/redis.md; {remedy})") from error
    return url


def _session_secrets(values: Mapping[str, str], production: bool) -> tuple[str, ...]:
    """The signing keys, the first signs; in demo one is made on first start."""
    given = tuple(
        s for s in values.get("SESSION_SECRETS", "").replace("\n", ",").split(",") if s.strip()
    )
    given = tuple(secret.strip() for secret in given)
    if not given and production:
        raise SettingsError(
            "SESSION_SECRETS is not set: APP_ENV=production needs one, the same for every worker "
            "(python3 -c 'import secrets; print(secrets.token_urlsafe(32))')"
        )
    if not given:
        return (_shared_demo_secret(Path(values.get("STACK_DIR") or ".stack") / "session-secret"),)
    if len(set(given)) < len(given):
        raise SettingsError("SESSION_SECRETS names the same secret twice: remove one")
    if production and min(map(len, given)) < MIN_SECRET_CHARACTERS:
        raise SettingsError(
            f"SESSION_SECRETS: each needs at least {MIN_SECRET_CHARACTERS} characters"
        )
    return given


def _shared_demo_secret(path: Path) -> str:
    """The secret in `path`, made there first if it is missing.

    Workers start at the same moment, so each writes its own complete file and links it into place:
    link(2) lets exactly one win, and everybody reads the winner's.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".session-secret-")
            try:
                with os.fdopen(handle, "w") as file:  # mkstemp gives mode 0600
                    file.write(secrets.token_urlsafe(32) + "\n")
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                os.unlink(draft)
        secret = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(
            f"SESSION_SECRETS is not set and {path} cannot be used: {error}"
        ) from error
    if not secret:
        raise SettingsError(f"{path} is empty: delete it, and the next start makes a new one")
    return secret


def _secret(environ: Mapping[str, str], name: str) -> str:
    """NAME, or what is in the file that NAME_FILE names; an empty file counts as unset."""
    path, given = environ.get(f"{name}_FILE"), environ.get(name, "")
    if not path:
        return given
    if given:
        raise SettingsError(f"{name} and {name}_FILE are both set: keep one")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{name}_FILE={path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{name}_FILE={path} is not UTF-8 text") from error


class _Reader:
    """Typed values out of the environment, each with a default and bounds.

    `problems` collects what is wrong; the default stands in for it until all has been read.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.problems: list[str] = []
        self.values = dict(environ)
        self.unread: set[str] = set()  # secrets that were given in vain
        for name in SECRET_NAMES:
            try:
                self.values[name] = _secret(environ, name)
            except SettingsError as error:
                self.problems.append(str(error))
                self.unread.add(name)

    def kept(self, read: Callable[[], T], default: T) -> T:
        """What `read` returns, or `default` when it raises SettingsError."""
        try:
            return read()
        except SettingsError as error:
            return self._wrong(str(error), default)

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.values.get(name) or default
        if value not in allowed:
            return self._wrong(f"{name}={value} is not one of {', '.join(allowed)}", default)
        return value

    def text(self, name: str, default: str, form: re.Pattern[str]) -> str:
        value = self.values.get(name) or default
        if not form.fullmatch(value):
            return self._wrong(f"{name}={value} must match {form.pattern}", default)
        return value

    def secret(self, name: str, form: re.Pattern[str]) -> str:
        """A text that no message repeats."""
        value = self.values.get(name, "")
        return (
            value if form.fullmatch(value) else self._wrong(f"{name} must match {form.pattern}", "")
        )

    def flag(self, name: str, *, default: bool) -> bool:
        words = {"1": True, "true": True, "yes": True, "on": True} | dict.fromkeys(
            ("0", "false", "no", "off"), False
        )
        value = self.values.get(name)
        if not value:
            return default
        if value.lower() not in words:
            return self._wrong(f"{name}={value} is neither 1 nor 0", default)
        return words[value.lower()]

    def number(self, name: str, default: float, *, least: float, most: float = 10**9) -> float:
        return self._bounded(name, default, least, most, float)

    def count(self, name: str, default: int, *, least: int, most: int) -> int:
        return self._bounded(name, default, least, most, int)

    def _bounded(self, name: str, default: N, least: N, most: N, kind: Callable[[str], N]) -> N:
        value = self.values.get(name)
        if not value:
            return default
        try:
            if not value.isascii() or "_" in value:  # Python takes the digits of every script
                raise ValueError
            number = kind(value)
        except ValueError:
            form = "the digits 0 to 9 alone" if kind is int else "the digits 0 to 9"
            return self._wrong(f"{name}={value} is not a number: write it in {form}", default)
        if not least <= number <= most:
            return self._wrong(
                f"{name}={value} must be between {least:.15g} and {most:.15g}", default
            )
        return number

    def _wrong(self, problem: str, default: T) -> T:
        self.problems.append(problem)
        return default
