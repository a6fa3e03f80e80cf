"""deploy/nginx_files.py: nginx's files for an nginx in another container."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from deploy.nginx_files import Places, write_nginx_files
from deploy.paths import ROOT
from deploy.refused import Refused

BIND = {"BIND": "0.0.0.0"}


def places(folder: Path, source: Path = ROOT / "nginx", server: str = "127.0.0.11") -> Places:
    """Volumes and a resolv.conf below `folder`."""
    for name in ("nginx", "static"):
        (folder / name).mkdir(exist_ok=True)
    resolv_conf = folder / "resolv.conf"
    resolv_conf.write_text(f"search x.svc.cluster.local\nnameserver {server}\n")
    return Places(source, resolv_conf, nginx=folder / "nginx", static=folder / "static")


def written(folder: Path) -> dict[str, str]:
    stack = folder / "nginx/stack"
    return {
        str(path.relative_to(stack)): path.read_text()
        for path in stack.rglob("*")
        if path.is_file()
    }


def test_files_are_those_of_nginx(tmp_path: Path) -> None:
    """With Docker's name server and its name for the workers every file is as in nginx/; the static ones lie beside."""
    assert write_nginx_files(BIND, places(tmp_path))

    own = {name: (ROOT / "nginx" / name).read_text() for name in written(tmp_path)}
    assert written(tmp_path) == own
    assert {"nginx.conf", "site.conf", "upstream.conf", "start", "snippets/tls.conf"} < set(own)
    assert (tmp_path / "static/errors/503.html").exists()
    assert (tmp_path / "nginx/https/site.conf").exists()


def test_names_of_the_cluster(tmp_path: Path) -> None:
    """In Kubernetes the cluster's name server is asked, for the workers' full name, because nginx searches no domains."""
    environ = {**BIND, "WORKERS_HOST": "app.x.svc.cluster.local"}
    write_nginx_files(environ, places(tmp_path, server="10.96.0.10"))

    files = written(tmp_path)
    assert "resolver 10.96.0.10 valid=1s ipv6=off;" in files["nginx.conf"]
    assert "server app.x.svc.cluster.local:8001 " in files["upstream.conf"]
    assert "server app:" not in files["upstream.conf"]


def test_name_server_of_ipv6(tmp_path: Path) -> None:
    """An address of IPv6 is written as nginx wants it, and addresses of IPv6 are asked for."""
    write_nginx_files(BIND, places(tmp_path, server="fd00::a"))
    assert "resolver [fd00::a] valid=1s;" in written(tmp_path)["nginx.conf"]


def test_archive(tmp_path: Path) -> None:
    """A tar archive of nginx/ is as good as the folder: Swarm hands it on as one config."""
    with tarfile.open(tmp_path / "nginx.tar", "w") as archive:
        archive.add(ROOT / "nginx", arcname=".")
    write_nginx_files(BIND, places(tmp_path, tmp_path / "nginx.tar"))
    assert written(tmp_path)["site.conf"] == (ROOT / "nginx/site.conf").read_text()


def test_nothing_new_is_no_reload(tmp_path: Path) -> None:
    """Written a second time nothing changes; with another setting `written` does, at which nginx reloads."""
    assert write_nginx_files(BIND, places(tmp_path))
    stamp = (tmp_path / "nginx/written").read_text()
    assert not write_nginx_files(BIND, places(tmp_path))
    assert (tmp_path / "nginx/written").read_text() == stamp

    assert write_nginx_files({**BIND, "PAGE_SECONDS": "90"}, places(tmp_path))
    assert (tmp_path / "nginx/written").read_text() != stamp


def test_renewed_certificate_is_new(tmp_path: Path) -> None:
    """A certificate that is replaced under its name, as cert-manager does, is written again."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        write_nginx_files(BIND, places(folder))  # each makes one of its own
    given = {name: tmp_path / name for name in ("certificate.pem", "key.pem")}

    def put(folder: Path) -> dict[str, str]:
        for name, path in given.items():
            path.write_bytes((folder / "nginx/https" / name).read_bytes())
        return {
            **BIND,
            "TLS_CERT": str(given["certificate.pem"]),
            "TLS_KEY": str(given["key.pem"]),
        }

    site = tmp_path / "site"
    site.mkdir()
    assert write_nginx_files(put(first), places(site))
    assert write_nginx_files(put(second), places(site))
    served = (site / "nginx/https/certificate.pem").read_bytes()
    assert served == (second / "nginx/https/certificate.pem").read_bytes()


def test_refusal_changes_nothing(tmp_path: Path) -> None:
    """A wrong setting is refused before anything is written."""
    write_nginx_files(BIND, places(tmp_path))
    stamp = (tmp_path / "nginx/written").read_text()
    with pytest.raises(Refused, match="PAGE_SECONDS"):
        write_nginx_files({**BIND, "PAGE_SECONDS": "never"}, places(tmp_path))
    assert (tmp_path / "nginx/written").read_text() == stamp


def test_what_kubernetes_puts_beside_is_left_out(tmp_path: Path) -> None:
    """A ConfigMap's folder has each file twice, as a link and in `..data`; one of them is taken."""
    source = tmp_path / "source"
    (source / "..2026").mkdir(parents=True)
    (source / "..2026/upstream.conf").write_text("server app:8001;\n")
    (source / "..data").symlink_to("..2026")
    (source / "upstream.conf").symlink_to("..data/upstream.conf")
    write_nginx_files(BIND, places(tmp_path, source))
    assert set(written(tmp_path)) == {"upstream.conf"}
