"""https in Docker: a certificate of its own that nginx alone can read, and one that is given."""

from __future__ import annotations

import secrets
import ssl
from pathlib import Path

import httpx

from app.settings import COOKIE_NAME
from deploy.certificate import Pair, make_pair
from tests.compose.conftest import running
from tests.compose.stack import Stack, free_port

FOLDER = "/etc/nginx/https"


def trusting(stack: Stack) -> ssl.SSLContext:
    """Checks certificates as a browser does, and trusts the stack's own."""
    return ssl.create_default_context(cadata=stack.shell("nginx", f"cat {FOLDER}/certificate.pem"))


def test_made_when_none_is_given(stack: Stack) -> None:
    """Nothing had to be prepared: https answers with a certificate for this machine, and keeps a session."""
    form = {"username": "ann", "password": "demo"}
    with httpx.Client(base_url=stack.https_url, verify=trusting(stack), trust_env=False) as browser:
        (cookie,) = browser.post("/login", data=form).headers.get_list("Set-Cookie")

        assert cookie.startswith(f"__Host-{COOKIE_NAME}=")
        assert browser.get("/api/session").json()["user"] == "ann"


def test_kept_when_containers_are_made_anew(stack: Stack) -> None:
    """New containers show the same certificate: who trusts it is not asked again."""
    before = stack.shell("nginx", f"cat {FOLDER}/certificate.pem")
    stack.compose("up", "--detach", "--wait", "--force-recreate")

    assert stack.shell("nginx", f"cat {FOLDER}/certificate.pem") == before


def test_only_nginx_reads_the_key(stack: Stack) -> None:
    """The key is in nginx's container, which cannot change it, and in no other that runs."""
    assert "BEGIN PRIVATE KEY" in stack.shell("nginx", f"cat {FOLDER}/key.pem")
    assert "Read-only file system" in stack.shell("nginx", f"touch {FOLDER}/here")
    assert stack.shell("app", f"ls {FOLDER}") == ""
    assert "640" in stack.shell("nginx", f"stat -c %a {FOLDER}/key.pem")


def given(folder: Path) -> Pair:
    """A new certificate for shop.example, in the files that the settings name."""
    pair = make_pair(["shop.example"])
    for name, content in (("TLS_CERT", pair.chain), ("TLS_KEY", pair.key)):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o644)
    return pair


def test_given_certificate(tmp_path: Path) -> None:
    """TLS_CERT and TLS_KEY are shown, HTTPS_ONLY leads there under its name, and a renewed one is taken over."""
    pair = given(tmp_path)
    settings = {name: str(tmp_path / name) for name in ("TLS_CERT", "TLS_KEY")}
    settings |= {"HTTPS_ONLY": "1"}
    name = f"test-{secrets.token_hex(4)}"
    for stack in running(Stack(name, free_port(), **settings)):
        port = int(stack.https_url.rpartition(":")[2])
        shown = ssl.get_server_certificate(("127.0.0.1", port))
        answer = httpx.get(f"{stack.url}/login", trust_env=False)

        assert shown.split() == pair.chain.decode().split()
        assert answer.headers["Location"] == f"https://shop.example:{port}/login"

        renewed = given(tmp_path)
        stack.compose("up", "--detach", "--wait")
        stack.compose("restart", "nginx")
        stack.up()
        shown = ssl.get_server_certificate(("127.0.0.1", port))
        assert shown.split() == renewed.chain.decode().split()


def test_wrong_certificate_is_refused(stack: Stack) -> None:
    """A certificate without its key ends the https container with the setting's name."""
    option = "--env=TLS_CERT=/run/secrets/tls_cert"
    result = stack.attempt("run", "--rm", "--no-deps", "--no-TTY", option, "https")

    assert result.returncode == 1
    assert "TLS_CERT and TLS_KEY belong together" in result.stdout + result.stderr
