"""The certificate that is made or given, and what nginx is told of it."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import deploy.certificate
from deploy.certificate import make_pair, read_pair
from deploy.https import Https, read_https, write_https, write_https_for_container
from deploy.paths import ROOT
from deploy.protocols import MENDED, is_mended
from deploy.refused import Refused

HOME = {"127.0.0.1", "localhost", "::1"}


def names_in(folder: Path) -> set[str]:
    return set(pair_in(folder).names)


def pair_in(folder: Path) -> deploy.certificate.Pair:
    return read_pair((folder / "certificate.pem").read_bytes(), (folder / "key.pem").read_bytes())


def given(folder: Path, *names: str) -> dict[str, str]:
    """The settings that name a certificate for `names`."""
    pair = make_pair(names)
    (folder / "given.pem").write_bytes(pair.chain)
    (folder / "given.key").write_bytes(pair.key)
    return {"TLS_CERT": str(folder / "given.pem"), "TLS_KEY": str(folder / "given.key")}


def test_made_on_first_start(tmp_path: Path) -> None:
    """Without TLS_CERT a certificate for this machine is made; its key is for its owner alone."""
    write_https(read_https({}), tmp_path)

    assert names_in(tmp_path) == HOME
    assert pair_in(tmp_path).is_ours
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


def test_kept_on_the_second(tmp_path: Path) -> None:
    """The next start keeps it: whoever told the browser to trust it is not asked again."""
    write_https(read_https({}), tmp_path)
    before = (tmp_path / "certificate.pem").read_bytes()
    write_https(read_https({}), tmp_path)

    assert (tmp_path / "certificate.pem").read_bytes() == before


def test_made_anew_for_other_names(tmp_path: Path) -> None:
    """With other names in HTTPS_NAMES or BIND it is made anew, for them too."""
    write_https(read_https({}), tmp_path)
    write_https(
        read_https({"HTTPS_NAMES": "Demo.example, 10.0.0.7", "BIND": "192.0.2.1"}), tmp_path
    )

    assert names_in(tmp_path) == HOME | {"demo.example", "10.0.0.7", "192.0.2.1"}


def test_made_anew_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its last month it is made anew."""
    with monkeypatch.context() as patch:
        patch.setattr(deploy.certificate, "DAYS", 29)
        write_https(read_https({}), tmp_path)
    assert pair_in(tmp_path).days_left < 30
    write_https(read_https({}), tmp_path)

    assert pair_in(tmp_path).days_left > 300


def test_made_anew_when_damaged(tmp_path: Path) -> None:
    """A damaged key is replaced rather than told to nginx."""
    write_https(read_https({}), tmp_path)
    (tmp_path / "key.pem").write_bytes(make_pair(["localhost"]).key)
    write_https(read_https({}), tmp_path)

    assert pair_in(tmp_path).days_left > 0


def test_given(tmp_path: Path) -> None:
    """A certificate that is given is used as it is, and its names are the ones nginx knows."""
    settings = given(tmp_path, "shop.example", "*.shop.example", "192.0.2.7")
    write_https(read_https(settings), tmp_path / "out")
    conf = (tmp_path / "out/site.conf").read_text()

    assert (tmp_path / "out/certificate.pem").read_bytes() == (tmp_path / "given.pem").read_bytes()
    assert set(re.findall(r'"(\S+)" \$host;', conf)) == {
        "shop.example",
        "*.shop.example",
        "192.0.2.7",
    }
    assert '"" "https://shop.example:8443";' in conf


def test_given_is_not_kept(tmp_path: Path) -> None:
    """When TLS_CERT is taken away again, a certificate of our own takes its place."""
    write_https(read_https({}), tmp_path)
    own = (tmp_path / "certificate.pem").read_bytes()
    write_https(read_https(given(tmp_path, "shop.example")), tmp_path)
    write_https(read_https({}), tmp_path)

    assert names_in(tmp_path) == HOME
    assert (tmp_path / "certificate.pem").read_bytes() != own


def test_standard_port_is_left_out(tmp_path: Path) -> None:
    """With HTTPS_PORT=443 the address that http leads to has no port."""
    write_https(read_https({"HTTPS_PORT": "443"}), tmp_path)

    assert 'default "https://$certified_host";' in (tmp_path / "site.conf").read_text()


def refusals(tmp_path: Path) -> dict[str, tuple[dict[str, str], str]]:
    """Settings that cannot be used, and what is said about them."""
    good, other = given(tmp_path, "a.example"), tmp_path / "other.key"
    other.write_bytes(make_pair(["a.example"]).key)
    text = tmp_path / "text"
    text.write_text("-----BEGIN nothing-----\n")
    return {
        "half": ({"TLS_CERT": good["TLS_CERT"]}, "belong together"),
        "missing": (good | {"TLS_KEY": "/no/such"}, "cannot be read"),
        "other key": (good | {"TLS_KEY": str(other)}, "the key is not the certificate's"),
        "no certificate": (good | {"TLS_CERT": str(text)}, "the certificate is not a PEM file"),
        "no key": (good | {"TLS_KEY": str(text)}, "the key is not a PEM file"),
        "port": ({"HTTPS_PORT": "x"}, "HTTPS_PORT=x is not a number"),
        "port 0": ({"HTTPS_PORT": "0"}, "between 1 and 65535"),
        "both": ({"HTTPS_PORT": "8080"}, "both 8080"),
        "tls": ({"TLS13": "2"}, "TLS13=2 is neither 1 nor 0"),
        "only": ({"HTTPS_ONLY": "maybe"}, "HTTPS_ONLY=maybe is neither 1 nor 0"),
        "names": ({"HTTPS_NAMES": 'a"; return 200;'}, "neither a host name nor an address"),
        "secret": ({"NGINX_SECRET": 'x"; return 200; #' * 3}, "NGINX_SECRET must be 32 to 128"),
        "exempt": ({"EXEMPT_NETWORKS": "10.0.0.1/8"}, "EXEMPT_NETWORKS: 10.0.0.1/8 is not a net"),
        "exempt all": (
            {"EXEMPT_NETWORKS": "0.0.0.0/0"},
            "EXEMPT_NETWORKS: 0.0.0.0/0 matches every address",
        ),
        "bind": ({"BIND": "here"}, "BIND=here is not an address"),
        "proxy": ({"TRUSTED_PROXIES": "10.0.0.1/8"}, "10.0.0.1/8 is not a network"),
        "proxies": ({"TRUSTED_PROXIES": "10.0.0.1, ::/0"}, "::/0 matches every address"),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "half", "missing", "other key", "no certificate", "no key",
        "port", "port 0", "both", "tls", "only", "names", "secret", "exempt", "exempt all", "bind", "proxy", "proxies",
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, kind: str) -> None:
    """Settings of https that cannot be used end the start with a sentence that names them."""
    settings, text = refusals(tmp_path)[kind]
    with pytest.raises(Refused, match=re.escape(text)):
        write_https(read_https(settings), tmp_path / "out")


def test_expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that has ended is refused, instead of being shown to every visitor."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(days=500)

    settings = read_https(given(tmp_path, "a.example"))
    monkeypatch.setattr(deploy.certificate, "datetime", Later)
    with pytest.raises(Refused, match=r"expired 10\d days ago"):
        write_https(settings, tmp_path / "out")


DEMO = {"APP_ENV": "demo"}
PRODUCTION = {"APP_ENV": "production"}
AFFECTED, NEWER = "1.31.3", "1.31.9"
BOTH = "http2 on;\nssl_protocols TLSv1.3;\n"
NEITHER = "http2 off;\n"


@pytest.mark.parametrize(
    ("settings", "nginx", "lines"),
    [
        (DEMO, AFFECTED, BOTH),
        (PRODUCTION, AFFECTED, NEITHER),
        (PRODUCTION, NEWER, BOTH),
        (PRODUCTION, "", NEITHER),
        (PRODUCTION | {"HTTP2": "1", "TLS13": "1"}, AFFECTED, BOTH),
        (DEMO | {"HTTP2": "0", "TLS13": "0"}, NEWER, NEITHER),
    ],
)
def test_protocols(tmp_path: Path, settings: dict[str, str], nginx: str, lines: str) -> None:
    """Production speaks HTTP/2 and TLS 1.3 with an nginx without known holes there; a setting overrules that."""
    write_https(read_https(settings), tmp_path, nginx=nginx)

    assert f"\n{lines}\nssl_certificate " in (tmp_path / "site.conf").read_text()


@pytest.mark.parametrize(
    ("settings", "only"),
    [(DEMO, 0), (PRODUCTION, 1), (PRODUCTION | {"HTTPS_ONLY": "0"}, 0), ({"HTTPS_ONLY": "1"}, 1)],
)
def test_https_only(tmp_path: Path, settings: dict[str, str], only: int) -> None:
    """HTTPS_ONLY is on in production and off in demo, unless it is given."""
    write_https(read_https(settings), tmp_path)

    assert f"$https_only {{ default {only}; }}" in (tmp_path / "site.conf").read_text()


def exempt(folder: Path, **settings: str) -> list[str]:
    """The networks that nginx's limits do not count."""
    write_https(read_https(settings), folder)
    return [line.removesuffix(" 1;") for line in (folder / "exempt.conf").read_text().splitlines()]


def test_exempt_networks(tmp_path: Path) -> None:
    """Exempt are loopback and a single address of BIND, or exactly what EXEMPT_NETWORKS names."""
    loopback = ["127.0.0.0/8", "::1/128"]

    assert exempt(tmp_path) == loopback
    assert exempt(tmp_path, BIND="::") == loopback
    assert exempt(tmp_path, BIND="192.0.2.7") == [*loopback, "192.0.2.7/32"]
    assert exempt(tmp_path, BIND="192.0.2.7", EXEMPT_NETWORKS="10.1.0.0/16, ::1") == [
        "10.1.0.0/16",
        "::1/128",
    ]


@pytest.mark.parametrize(
    ("given", "gateway"), [("", "include /tmp/gateway.conf;"), ("10.0.0.0/8", "10.0.0.0/8")]
)
def test_container_exempts_its_gateway(tmp_path: Path, given: str, gateway: str) -> None:
    """In Docker this machine is the gateway, which nginx/start finds; not with EXEMPT_NETWORKS."""
    write_https_for_container(read_https({"EXEMPT_NETWORKS": given}), tmp_path)
    (*_, last) = (tmp_path / "exempt.conf").read_text().splitlines()

    assert last.removesuffix(" 1;") == gateway


@pytest.mark.parametrize(("given", "more"), [("", ""), ("0", ""), ("1", "; includeSubDomains")])
def test_hsts_of_subdomains(tmp_path: Path, given: str, more: str) -> None:
    """HSTS is for this host alone, and with HSTS_SUBDOMAINS=1 for those under it."""
    write_https(read_https({"HSTS_SUBDOMAINS": given}), tmp_path)

    assert f'default "max-age=31536000{more}";' in (tmp_path / "site.conf").read_text()


VERSIONS = {
    **dict.fromkeys(("1.30.7", "1.30.10", "1.30.23", "1.31.9", "1.31.10", "1.32.0"), True),
    **dict.fromkeys(("1.39.1", "1.40.0", "1.100.0", "2.0.0", "10.1.0"), True),
    **dict.fromkeys(("1.30.6", "1.30.1", "1.31.0", "1.31.3", "1.31.8", "1.29.10"), False),
    **dict.fromkeys(("1.3.7", "1.9.9", "0.8.54", "1.27.99", "", "x"), False),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_mended_versions(version: str) -> None:
    """1.30.7, 1.31.9 and what follows are without the holes, for Python as for the shell of nginx/start."""
    script = "while read -r p; do case $1 in $p) echo True; exit;; esac; done; echo False"
    patterns = "\n".join(MENDED) + "\n"
    shell = subprocess.run(
        ["sh", "-c", script, "sh", version],
        input=patterns,
        capture_output=True,
        text=True,
        check=True,
    )

    assert is_mended(version) is VERSIONS[version]
    assert shell.stdout.strip() == str(VERSIONS[version])


def started_in_container(folder: Path, version: str, **settings: str) -> str:
    """What nginx/start becomes where nginx has this version and the gateway is 172.18.0.1; its files are in `folder`."""
    write_https_for_container(read_https(settings), folder)
    program = folder / "nginx"
    says = f'[ "$1" = -v ] && echo "nginx version: nginx/{version}" >&2 || echo started "$@"'
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o755)
    routes = folder / "route"
    routes.write_text(
        "Iface\tDestination\tGateway \tFlags\t\n"
        "eth0\t000012AC\t00000000\t0001\neth0\t00000000\t010012AC\t0003\n"
    )
    script = (ROOT / "nginx/start").read_text()
    moved = {"/tmp/": f"{folder}/", "/etc/nginx/https": folder, "/proc/net/route": routes}
    for name, here in moved.items():
        script = script.replace(name, str(here))
    done = subprocess.run(
        ["sh", "-c", script, "start", "-p", "/x"],
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("version", "lines"), [(AFFECTED, NEITHER), (NEWER, BOTH), (f"{NEWER} (Debian)", BOTH)]
)
def test_container_asks_its_own_nginx(tmp_path: Path, version: str, lines: str) -> None:
    """In Docker the nginx that starts decides: nginx/start takes the lines for its version, and becomes nginx."""
    assert started_in_container(tmp_path, version, **PRODUCTION) == "started -p /x\n"
    assert (tmp_path / "protocols.conf").read_text() == lines
    assert "include /tmp/protocols.conf;" in (tmp_path / "site.conf").read_text()


@pytest.mark.parametrize(
    ("bind", "is_exempt"),
    [("127.0.0.1", True), ("0.0.0.0", True), ("::1", True), ("::", False), ("2001:db8::7", False)],
)
def test_gateway_is_this_machine(tmp_path: Path, bind: str, is_exempt: bool) -> None:
    """nginx/start exempts the gateway, unless all visitors over IPv6 would come from it."""
    started_in_container(tmp_path, AFFECTED, BIND=bind)

    assert (tmp_path / "gateway.conf").read_text() == ("172.18.0.1 1;\n" if is_exempt else "")


PORTS = [
    ({}, 8080, 8443),
    ({}, 8090, 8453),
    ({}, 65400, 8443),
    ({"HTTPS_PORT": "9443"}, 8090, 9443),
]


@pytest.mark.parametrize(("settings", "http_port", "port"), PORTS)
def test_port(settings: dict[str, str], http_port: int, port: int) -> None:
    """HTTPS_PORT follows HTTP_PORT where it is not given, so that a second stack needs one setting."""
    found = read_https(settings, http_port)
    names = ("localhost", "127.0.0.1", "::1")
    assert found == Https(port, False, True, None, names, hosts=found.hosts)


def known_hosts(folder: Path, **settings: str) -> set[str]:
    """The keys of the map of hosts that are known over http."""
    write_https(read_https(settings), folder)
    text = (folder / "site.conf").read_text().split("map $host $known_host {")[1].split("}")[0]
    return set(re.findall(r'"(.+)" 1;', text))


def test_known_hosts(tmp_path: Path) -> None:
    """Known over http are this machine's names, BIND, ALLOWED_HOSTS and what the certificate is for."""
    own = {"localhost", "127.0.0.1", "[::1]"}
    more = {"ALLOWED_HOSTS": "Shop.example, *.shop.example", "HTTPS_NAMES": "sure.example"}

    assert known_hosts(tmp_path) == own
    assert known_hosts(tmp_path, BIND="192.0.2.7") == own | {"192.0.2.7"}
    assert known_hosts(tmp_path, **more) == own | {"shop.example", "*.shop.example", "sure.example"}


def test_every_address_is_known_where_all_are_listened_on(tmp_path: Path) -> None:
    """With BIND=0.0.0.0 or :: any address is known, and still no name: only names can be rebound."""
    for bind in ("0.0.0.0", "::"):
        patterns = [key[1:] for key in known_hosts(tmp_path, BIND=bind) if key.startswith("~")]

        def known(host: str, patterns: list[str] = patterns) -> bool:
            return any(re.search(pattern, host) for pattern in patterns)

        assert known("192.0.2.1")
        assert known("[2001:db8::1]")
        assert not known("evil.example")
        assert not known("192.0.2.1.evil.example")


def test_any_host(tmp_path: Path) -> None:
    """ALLOWED_HOSTS=* switches the check off; what is no name is refused by name."""
    write_https(read_https({"ALLOWED_HOSTS": "*"}), tmp_path)
    assert re.search(
        r"\$known_host \{\s+hostnames;\s+default 1;", (tmp_path / "site.conf").read_text()
    )
    with pytest.raises(Refused, match="ALLOWED_HOSTS: a;b"):
        read_https({"ALLOWED_HOSTS": "a;b"})


def test_no_proxy_is_trusted_unnamed(tmp_path: Path) -> None:
    """Without TRUSTED_PROXIES nginx believes nobody; with it exactly these networks, for scheme and address alike."""
    write_https(read_https({}), tmp_path)
    silent = (tmp_path / "site.conf").read_text()
    write_https(read_https({"TRUSTED_PROXIES": "10.0.0.0/8, 2001:db8::7"}), tmp_path)
    named = (tmp_path / "site.conf").read_text()

    assert "real_ip" not in silent
    assert " 1;" not in silent.split("$from_proxy {")[1]
    assert re.findall(r"set_real_ip_from (\S+);", named) == ["10.0.0.0/8", "2001:db8::7/128"]
    assert re.findall(r"(\S+) 1;", named.split("$from_proxy {")[1]) == [
        "10.0.0.0/8",
        "2001:db8::7/128",
    ]
