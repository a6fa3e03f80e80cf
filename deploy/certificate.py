"""Certificates as files: reading one with its key, and making a self-signed one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

OURS = "Round robin, self-signed"  # the subject of what is made here
DAYS = 397  # no browser accepts more from an authority; renewed at a start long before


class PairError(Exception):
    """A certificate or key that cannot be used; the text says why."""


@dataclass(frozen=True)
class Pair:
    """A certificate with its chain, and its key, both PEM; `names` are the hosts it is for."""

    chain: bytes
    key: bytes
    names: tuple[str, ...]
    days_left: float
    is_ours: bool


def read_pair(chain: bytes, key: bytes) -> Pair:
    """The certificate that `chain` begins with, and its key; PairError when the two do not fit."""
    certificate = _first(chain)
    try:
        public = load_pem_private_key(key, password=None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise PairError("the key is not a PEM file, or is locked with a password") from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(*form) != public.public_bytes(*form):
        raise PairError("the key is not the certificate's")
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    ours = certificate.subject == _subject()
    return Pair(chain, key, _names_in(certificate), left / timedelta(days=1), ours)


def names_of(chain: bytes) -> tuple[str, ...]:
    """The hosts that the first certificate of `chain` is for; PairError when it holds none."""
    return _names_in(_first(chain))


def make_pair(names: Iterable[str]) -> Pair:
    """A self-signed certificate for these host names and addresses, with a new key (ECDSA P-256)."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject())
        .issuer_name(_subject())
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # a visitor's clock may be a little behind
        .not_valid_after(now + timedelta(days=DAYS))
    )
    for extension, critical in _extensions(names, key.public_key()):
        builder = builder.add_extension(extension, critical)
    chain = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return read_pair(chain, text)


def _first(chain: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(chain)[0]
    except ValueError:
        raise PairError("the certificate is not a PEM file") from None


def _extensions(
    names: Iterable[str], key: ec.EllipticCurvePublicKey
) -> list[tuple[x509.ExtensionType, bool]]:
    """A server's certificate and nothing more: whoever trusts it trusts no other by it."""
    usage = x509.KeyUsage(True, *[False] * 8)  # digital signature alone
    return [
        (x509.SubjectAlternativeName([_general_name(name) for name in names]), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (usage, True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(key), False),
    ]


def _subject() -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, OURS)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names_in(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = map(str, found.get_values_for_type(x509.IPAddress))
    return (*(name.lower() for name in found.get_values_for_type(x509.DNSName)), *addresses)
