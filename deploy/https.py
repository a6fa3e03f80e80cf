"""HTTPS for nginx: the certificate, made here when none is given, and the lines that follow from it.

On https the site answers to the names of the certificate; on http to these, to this machine's own and to
ALLOWED_HOSTS.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.certificate import Pair, PairError, make_pair, names_of, read_pair
from deploy.networks import listed, own_networks, proxies_conf, read_bind, read_networks
from deploy.nginx_secret import read_nginx_secret
from deploy.protocols import MENDED, is_mended, protocols_conf
from deploy.read_number import read_whole
from deploy.refused import Refused
from deploy.replace_file import replace_file
from deploy.times import DEFAULT_TIMES, Times, read_times

# Of nginx and of who writes it, so that the paths in site.conf are nginx's.
CONTAINER = Path("/etc/nginx/https")
DEFAULT_PORT = 8443
OFFSET = DEFAULT_PORT - 8080  # to HTTP_PORT, where HTTPS_PORT is not given
ALWAYS = ("localhost", "127.0.0.1", "::1")
ANY_ADDRESS = ("0.0.0.0", "::")
ADDRESSES = (r"~^[0-9.]+$", r"~^\[[0-9a-f:.]+\]$")  # as nginx's map takes them
RENEW_DAYS = 30.0
NAME = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")
ON, OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True)
class Https:
    """What the environment says: `given` is the certificate and key of TLS_CERT and TLS_KEY, or None.

    `times` and `proxies` are here because nginx reads what follows from them from the same generated file.
    """

    port: int
    only: bool
    http2: bool | None  # None: where the nginx that runs has no known holes there
    given: tuple[Path, Path] | None
    names: tuple[str, ...]
    times: Times = DEFAULT_TIMES
    hosts: tuple[str, ...] = ()  # over http, beside those of the certificate; `*` is any
    proxies: tuple[str, ...] = ()  # networks whose X-Forwarded-* are believed
    tls13: bool | None = True  # None: as for http2
    hsts_subdomains: bool = False
    exempt: tuple[str, ...] = ()  # from nginx's limits; empty: this machine
    bind: str = "127.0.0.1"
    nginx_secret: str = ""  # that nginx tells the workers

    def protocols(self, *, mended: bool) -> str:
        """Lines for an nginx with or without the known holes."""
        return protocols_conf(http2=self.http2, tls13=self.tls13, mended=mended)


def read_https(environ: Mapping[str, str], http_port: int = 8080) -> Https:
    """The settings in `environ`; Refused names the first one that cannot be used."""
    port = _port(environ, http_port)
    if port == http_port:
        raise Refused(f"HTTP_PORT and HTTPS_PORT are both {port}: choose another for one of them")
    production = environ.get("APP_ENV") == "production"
    return Https(
        port=port,
        only=bool(_choice(environ, "HTTPS_ONLY", default=production)),
        hsts_subdomains=bool(_choice(environ, "HSTS_SUBDOMAINS", default=False)),
        http2=_choice(environ, "HTTP2", default=None if production else True),
        tls13=_choice(environ, "TLS13", default=None if production else True),
        given=_given(environ),
        names=_names(environ),
        times=read_times(environ),
        hosts=_hosts(environ),
        proxies=read_networks(environ, "TRUSTED_PROXIES"),
        exempt=read_networks(environ, "EXEMPT_NETWORKS"),
        bind=read_bind(environ),
        nginx_secret=read_nginx_secret(environ),
    )


def write_https(https: Https, folder: Path, *, nginx: str = "") -> None:
    """Put certificate.pem, key.pem, site.conf, exempt.conf and secret.conf into `folder`, which an nginx of version `nginx` reads.

    A certificate that was made here before is kept while it fits the names and has a month to go.
    Refused when the given one cannot be used.
    """
    _write(https, folder, https.protocols(mended=is_mended(nginx)), key_mode=0o600)


def write_https_for_container(https: Https, folder: Path) -> None:
    """The same for an nginx that nginx/start starts: it finds out the version and the gateway,
    and the group reads the key.
    """
    for name, mended in (("mended", True), ("affected", False)):
        lines = https.protocols(mended=mended)
        replace_file(folder / f"protocols-{name}.conf", lines, mode=0o644)
    replace_file(folder / "mended.txt", "\n".join(MENDED) + "\n", mode=0o644)
    _write(
        https,
        folder,
        "include /tmp/protocols.conf;\n",
        key_mode=0o640,
        more_exempt="" if https.exempt else "include /tmp/gateway.conf;\n",
    )


def _write(
    https: Https, folder: Path, protocols: str, *, key_mode: int, more_exempt: str = ""
) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    pair = _given_pair(*https.given) if https.given else _own_pair(folder, https.names)
    replace_file(folder / "key.pem", pair.key, mode=key_mode)
    replace_file(folder / "certificate.pem", pair.chain, mode=0o644)
    exempt = [f"{network} 1;\n" for network in https.exempt or own_networks(https.bind)]
    replace_file(folder / "exempt.conf", "".join(exempt) + more_exempt, mode=0o644)
    secret = f'map $scheme $nginx_secret {{ default "{https.nginx_secret}"; }}\n'
    replace_file(folder / "secret.conf", secret, mode=key_mode)
    text = _site_conf(https, pair.names, folder, protocols)
    replace_file(folder / "site.conf", text, mode=0o644)


def name_for(host: str, folder: Path) -> str:
    """`host` if the certificate in `folder` is for it, else the first name that it is for."""
    try:
        names = names_of((folder / "certificate.pem").read_bytes())
    except (OSError, PairError):
        return host
    known = [_as_host(name) for name in names if _is_name(name)]
    if host in known or not known:
        return host
    return known[0].replace("*.", "www.", 1)


def _given_pair(certificate: Path, key: Path) -> Pair:
    try:
        pair = read_pair(certificate.read_bytes(), key.read_bytes())
    except OSError as error:
        raise Refused(f"TLS_CERT or TLS_KEY cannot be read: {error}") from None
    except PairError as error:
        raise Refused(f"TLS_CERT={certificate}, TLS_KEY={key}: {error}") from None
    if pair.days_left <= 0:
        raise Refused(f"TLS_CERT={certificate} expired {-pair.days_left:.0f} days ago")
    return pair


def _own_pair(folder: Path, names: tuple[str, ...]) -> Pair:
    """The self-signed certificate in `folder`, or a new one when there is none that will do."""
    try:
        old = read_pair(
            (folder / "certificate.pem").read_bytes(), (folder / "key.pem").read_bytes()
        )
        if old.is_ours and old.days_left > RENEW_DAYS and set(old.names) == set(names):
            return old
    except (OSError, PairError):
        pass  # none yet, or damaged: a new one costs nothing
    return make_pair(names)


def _site_conf(https: Https, names: Iterable[str], folder: Path, protocols: str) -> str:
    """What nginx includes in its http block; each name was checked to be a name or an address."""
    hosts = [_as_host(name) for name in names if _is_name(name)]
    if not hosts:
        raise Refused("TLS_CERT names no host (subjectAltName): browsers would refuse it")
    first = hosts[0].removeprefix("*.")
    known = "\n".join(f'    "{host}" $host;' for host in hosts)
    subdomains = "; includeSubDomains" if https.hsts_subdomains else ""
    suffix = "" if https.port == 443 else f":{https.port}"
    return f"""\
# Generated by deploy/https.py at each start, from the certificate, HTTPS_ONLY, HSTS_SUBDOMAINS, HTTP2,
# TLS13, TRUSTED_PROXIES, PAGE_SECONDS and WATCHDOG_SECONDS.

# What nginx waits for an answer: snippets/proxy.conf says why it is longer than PAGE_SECONDS.
proxy_read_timeout {https.times.nginx_seconds}s;

{protocols}
ssl_certificate "{folder}/certificate.pem";
ssl_certificate_key "{folder}/key.pem";

# The request's host when the certificate is for it, else nothing.
map $host $certified_host {{
    hostnames;
    default "";
{known}
}}

# 1 when the site is known under the request's host over http.
map $host $known_host {{
    hostnames;
    default {int("*" in https.hosts)};
{_known([*https.hosts, *hosts])}
}}

# Where plain http is sent with HTTPS_ONLY; a host that is not ours is sent to ours.
map $certified_host $https_site {{
    "" "https://{first}{suffix}";
    default "https://$certified_host{suffix}";
}}

map $scheme $https_only {{ default {int(https.only)}; }}
map $scheme $hsts_policy {{ default "max-age=31536000{subdomains}"; }}

# $from_proxy: 1 where a proxy of TRUSTED_PROXIES has connected; what it says of the visitor is believed.
{proxies_conf(https.proxies)}
"""


def _known(hosts: Iterable[str]) -> str:
    return "\n".join(f'    "{host}" 1;' for host in dict.fromkeys(hosts) if host != "*")


def _port(environ: Mapping[str, str], http_port: int) -> int:
    """HTTPS_PORT; without one as far from HTTP_PORT as 8443 is from 8080, so that two stacks fit."""
    default = http_port + OFFSET if http_port + OFFSET < 65536 else DEFAULT_PORT
    return read_whole(environ, "HTTPS_PORT", default, least=1, most=65535)


def _choice(environ: Mapping[str, str], name: str, *, default: bool | None) -> bool | None:
    value = environ.get(name, "").lower()
    if value not in ("", *ON, *OFF):
        raise Refused(f"{name}={value} is neither 1 nor 0")
    return value in ON if value else default


def _given(environ: Mapping[str, str]) -> tuple[Path, Path] | None:
    certificate, key = environ.get("TLS_CERT"), environ.get("TLS_KEY")
    if bool(certificate) != bool(key):
        raise Refused("TLS_CERT and TLS_KEY belong together: give both or neither")
    return (Path(certificate), Path(key)) if certificate and key else None


def _names(environ: Mapping[str, str]) -> tuple[str, ...]:
    """What a certificate made here is for: HTTPS_NAMES, this machine, and BIND where it is one address."""
    bind = read_bind(environ)
    names = [name.lower() for name in listed(environ, "HTTPS_NAMES")]
    names += [*ALWAYS, *([] if bind in ANY_ADDRESS else [bind])]
    for name in names:
        if not _is_name(name):
            raise Refused(f"HTTPS_NAMES: {name} is neither a host name nor an address")
    return tuple(dict.fromkeys(names))


def _hosts(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Under which names the site is known over http: this machine's own, and ALLOWED_HOSTS.

    A site that listens on every address is known under each as well: only a name can be made to lead here by
    somebody else's name server (DNS rebinding).
    """
    given = [name.lower() for name in listed(environ, "ALLOWED_HOSTS")]
    for name in given:
        if name != "*" and not _is_name(name):
            raise Refused(f"ALLOWED_HOSTS: {name} is neither a host name nor an address, nor *")
    bind = read_bind(environ)
    own = [*ALWAYS, *(ADDRESSES if bind in ANY_ADDRESS else [bind])]
    return tuple(map(_as_host, [*own, *given]))


def _is_name(name: str) -> bool:
    return bool(NAME.fullmatch(name)) or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _as_host(name: str) -> str:
    """`name` as it stands in a Host header; a pattern stays as it is."""
    return f"[{name}]" if ":" in name and not name.startswith("~") else name
