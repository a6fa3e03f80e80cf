"""TLS in front of a server that has none: certificates of a test's own, and a hop that ends TLS."""

from __future__ import annotations

import ipaddress
import selectors
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

TLS_HANDSHAKE = b"\x16"


@dataclass(frozen=True)
class Certificates:
    """PEM files: an authority, a server at `host` that it vouches for, and a client."""

    authority: Path
    server: Path
    client: Path
    client_key: Path

    @classmethod
    def make(cls, folder: Path, host: str = "127.0.0.1") -> Certificates:
        key = ec.generate_private_key(ec.SECP256R1())
        authority = _sign("authority", key, None, key)
        (folder / "authority.pem").write_bytes(authority.public_bytes(Encoding.PEM))
        paths = {name: folder / f"{name}.pem" for name in ("server", "client", "client.key")}
        for name in ("server", "client"):
            own = ec.generate_private_key(ec.SECP256R1())
            signed = _sign(host, own, authority, key).public_bytes(Encoding.PEM)
            text = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            paths[name].write_bytes(signed if name == "client" else signed + text)
            paths["client.key"].write_bytes(text)
        return cls(folder / "authority.pem", *paths.values())


def _sign(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), True)
    )
    if issuer:
        address = x509.IPAddress(ipaddress.ip_address(name))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), False)
    return builder.sign(issuer_key, hashes.SHA256())


class TlsHop:
    """Passes bytes on to `port`; TLS ends here and needs a client's certificate.  Plain bytes pass, too.

    So a Sentinel, which knows servers by one address only, watches a server where clients use TLS.
    """

    def __init__(self, port: int, certificates: Certificates) -> None:
        self._context = ssl.create_default_context(
            ssl.Purpose.CLIENT_AUTH, cafile=certificates.authority
        )
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.load_cert_chain(certificates.server)
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.over_tls = 0  # connections
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                end, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(end,), daemon=True).start()

    def _serve(self, end: socket.socket) -> None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._to)) as behind:
            if end.recv(1, socket.MSG_PEEK) == TLS_HANDSHAKE:
                end = self._context.wrap_socket(end, server_side=True)
                self.over_tls += 1
            with end, selectors.DefaultSelector() as ready:
                ready.register(end, selectors.EVENT_READ, behind)
                ready.register(behind, selectors.EVENT_READ, end)
                while True:
                    for key, _ in ready.select():
                        source, sink = key.fileobj, key.data
                        assert isinstance(source, socket.socket)
                        if not (data := source.recv(1 << 17)):
                            return
                        sink.sendall(data)
        end.close()
