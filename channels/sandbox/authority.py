"""Creates a certificate authority for the sandbox alone at each start, a service account in Google's format, and a
VAPID key.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import secrets
import ssl
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE = dt.timedelta(days=30)  # longer than any sandbox runs, short enough that a stolen key is worthless


@dataclass(frozen=True, slots=True)
class Authority:
    """The files of one authority: its own certificate, and one for the servers on 127.0.0.1."""

    ca_file: Path
    certificate_file: Path
    key_file: Path

    def server_context(self) -> ssl.SSLContext:
        """Returns a TLS context for the sandbox's servers."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate_file, self.key_file)
        return context


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    file: Path
    public_pem: bytes


def make_authority(directory: Path) -> Authority:
    """Creates an authority and a server certificate for localhost in `directory`. Only the owner can read the server's
    key; the authority's key is not stored.
    """
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alertd sandbox authority")])
    ca = (
        _certificate(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        _certificate(name, ca_name, key.public_key())
        .add_extension(names, critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    made = Authority(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    made.ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    made.certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    _write_secret(made.key_file, _pem(key))
    return made


def make_service_account(directory: Path, token_uri: str) -> ServiceAccount:
    """Writes a service account to `directory`, in the format of the Firebase console. Its token endpoint is
    `token_uri`. Returns the file and the public key.
    """
    key = _account_key()
    file = directory / "service-account.json"
    content = {
        "type": "service_account",
        "project_id": "sandbox",
        "private_key_id": secrets.token_hex(20),
        "private_key": _pem(key).decode(),
        "client_email": "alertd@sandbox.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_uri,
    }
    _write_secret(file, json.dumps(content, indent=1).encode())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return ServiceAccount(file, public)


def vapid_key(file: Path) -> str:
    """Returns the key in a file, as PEM. Creates the file if it is missing, so that subscriptions stay valid after a
    restart.
    """
    if not file.exists():
        _write_secret(file, _pem(ec.generate_private_key(ec.SECP256R1())))
    return file.read_text(encoding="ascii")


@cache
def _account_key() -> rsa.RSAPrivateKey:
    """Returns the RSA key that all sandboxes of a process share. It has half the usual length, because a full key takes
    a second to create and to check at each load, and this key guards nothing.
    """
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  see above


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + LIFE)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_secret(file: Path, content: bytes) -> None:
    """Replaces a file by one that only the owner can read."""
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_bytes(content)
