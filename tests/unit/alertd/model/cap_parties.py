"""Senders of signed CAP messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from alertd.model.cap.signatures import Issuer, Signer

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SENDER = "agua@ciudad.example"


class Party:
    """Somebody with a key and a certificate."""

    def __init__(
        self, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None, *, now: datetime = NOW
    ) -> None:
        key = key or ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Water")])
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        self.key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM)
        self.signer = Signer(self.key, self.pem)
        self.issuer = Issuer(certificate=self.certificate, senders=(SENDER,))
