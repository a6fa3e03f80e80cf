"""REDIS_URL, taken apart: where Redis is, how to log in there, and how its certificate is checked.

    redis://[user:password@]host[:6379][/database]             one server
    unix://[user:password@]/path                               the same, through a socket file
    redis+sentinel://[...@]host[:26379],host,.../name[/database]  the master that Sentinels call `name`
    redis+cluster://[...@]host[:6379],host,...                 a cluster, by some of its nodes

`rediss`, `rediss+sentinel` and `rediss+cluster` are the same over TLS.  Each parameter is honoured on
every connection or refused with its name.  No error repeats the URL, which may hold a password.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

Place = tuple[str, int]  # host and port

PORTS = {"redis": 6379, "unix": 0, "redis+sentinel": 26379, "redis+cluster": 6379}
OVER_TLS = {name.replace("redis", "rediss"): name for name in PORTS if name != "unix"}
TLS_PARAMETERS = (
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_cert_reqs",
    "ssl_check_hostname",
)
SENTINEL_PARAMETERS = ("sentinel_username", "sentinel_password")
FLAGS = {"1": True, "true": True, "0": False, "false": False}


class BadAddress(ValueError):
    """A URL that cannot be used.  The text is a predicate: what the URL has, lacks or names."""


@dataclass(frozen=True)
class Address:
    """Where Redis is.  `hosts` are servers, Sentinels or nodes of a cluster, as the scheme tells."""

    scheme: str
    hosts: tuple[Place, ...] = ()
    path: str = ""  # of a socket file
    master: str = ""  # what Sentinels call it
    database: int = 0
    login: tuple[str, ...] = field(default=(), repr=False)  # the arguments of AUTH, none without
    sentinel_login: tuple[str, ...] = field(default=(), repr=False)
    tls: ssl.SSLContext | None = None

    @property
    def where(self) -> str:
        """For a message: the socket file, or the hosts and what their Sentinels call the master."""
        hosts = self.path or ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{self.master} of {hosts}" if self.master else hosts


def read_address(url: str) -> Address:
    """Take `url` apart, and read the certificates that it names.  Raises BadAddress."""
    given, found, rest = url.partition("://")
    scheme = OVER_TLS.get(given, given)
    if not found or scheme not in PORTS:
        raise BadAddress(f"begins with none of {', '.join([*PORTS, *OVER_TLS])} and ://")
    if "#" in rest:
        raise BadAddress("has a #; in a password write %23")
    rest, _, query = rest.partition("?")
    parameters = _parameters(query, scheme, over_tls=given != scheme)
    netloc, _, path = rest.partition("/")
    user, _, hosts = netloc.rpartition("@")
    master, path = _master(path) if scheme == "redis+sentinel" else ("", path)
    return Address(
        scheme,
        hosts=_hosts(hosts, scheme),
        path=_socket(path) if scheme == "unix" else "",
        master=master,
        database=_database("" if scheme == "unix" else path, parameters, scheme),
        login=_login(*map(unquote, user.partition(":")[::2])),
        sentinel_login=_login(*(parameters.get(name, "") for name in SENTINEL_PARAMETERS)),
        tls=_tls(parameters) if given != scheme else None,
    )


def _parameters(query: str, scheme: str, *, over_tls: bool) -> dict[str, str]:
    honoured = ["db"] if scheme != "redis+cluster" else []
    honoured += SENTINEL_PARAMETERS if scheme == "redis+sentinel" else ()
    honoured += TLS_PARAMETERS if over_tls else ()
    pairs = parse_qsl(query, keep_blank_values=True)
    for name, value in pairs:
        if name in TLS_PARAMETERS and not over_tls:
            raise BadAddress(f"has the parameter {name}, which needs rediss")
        if name not in honoured:
            known = ", ".join(honoured) or "none"
            raise BadAddress(f"has the parameter {name}; those that are honoured here: {known}")
        if not value:
            raise BadAddress(f"has the parameter {name} without a value")
    if len(dict(pairs)) < len(pairs):
        raise BadAddress("has a parameter twice")
    return dict(pairs)


def _login(user: str, password: str) -> tuple[str, ...]:
    """The arguments of AUTH.  A user without a password is one that needs none."""
    return (user, password) if user else (password,) if password else ()


def _socket(path: str) -> str:
    if not path:
        raise BadAddress("names no socket file: write unix:///path")
    return "/" + unquote(path)


def _master(path: str) -> tuple[str, str]:
    """The master's name, and what comes after it."""
    name, _, database = path.partition("/")
    if not name:
        raise BadAddress("does not name the master as Sentinels do: write ...:26379/mymaster/0")
    return unquote(name), database


def _database(path: str, parameters: Mapping[str, str], scheme: str) -> int:
    if path and "db" in parameters:
        raise BadAddress("has a database after the slash and as the parameter db: keep one")
    text = path or parameters.get("db", "0")
    if not (text.isascii() and text.isdecimal()):
        raise BadAddress(f"has the database {text!r}, which is no number")
    if int(text) and scheme == "redis+cluster":
        raise BadAddress("has a database, and a cluster has none but 0")
    return int(text)


def _hosts(text: str, scheme: str) -> tuple[Place, ...]:
    if scheme == "unix":
        if text:
            raise BadAddress("has a host before the path: write unix:///path")
        return ()
    hosts = tuple(_place(host, PORTS[scheme]) for host in text.split(","))
    if len(hosts) > 1 and scheme == "redis":
        raise BadAddress("has several hosts, which needs redis+sentinel or redis+cluster")
    return hosts


def _place(text: str, default_port: int) -> Place:
    """`host`, `host:port`, `[::1]` or `[::1]:port`."""
    name, colon, port = text.partition(":")
    if text.startswith("["):
        name, _, port = text[1:].partition("]")
        colon, port = port[:1], port[1:]
    host = unquote(name)
    try:
        host.encode("idna")  # as looking it up does; `a..b` has no such form
    except UnicodeError:
        host = ""
    if not host:
        raise BadAddress("has no host name that can be looked up")
    if colon not in ("", ":") or (colon and not (port.isascii() and port.isdecimal())):
        raise BadAddress("has a port that is no number")
    if colon and not 0 < int(port) < 1 << 16:
        raise BadAddress("has a port that is not from 1 to 65535")
    return host, int(port or default_port)


def _tls(parameters: Mapping[str, str]) -> ssl.SSLContext:
    """Trusts the system's authorities, or only those of `ssl_ca_certs`; checks names unless told not to."""
    certificate, key = parameters.get("ssl_certfile"), parameters.get("ssl_keyfile")
    if key and not certificate:
        raise BadAddress("has the parameter ssl_keyfile without ssl_certfile")
    reading = "ssl_ca_certs"
    try:
        context = ssl.create_default_context(cafile=parameters.get(reading))
        reading = "ssl_certfile or ssl_keyfile"
        if certificate:
            # An empty password: a key that has one is refused, where Python would ask the terminal.
            context.load_cert_chain(certificate, key, password="")
    except OSError as error:
        raise BadAddress(f"has a file in {reading} that cannot be used: {error}") from error
    requirement = parameters.get("ssl_cert_reqs", "required")
    check = FLAGS.get(parameters.get("ssl_check_hostname", "1").lower())
    if requirement not in ("required", "none"):
        raise BadAddress("has an ssl_cert_reqs that is neither required nor none")
    if check is None:
        raise BadAddress("has an ssl_check_hostname that is neither 1 nor 0")
    context.check_hostname = check and requirement == "required"
    if requirement == "none":
        context.verify_mode = ssl.CERT_NONE
    return context
