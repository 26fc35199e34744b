"""From the configuration to whose CAP documents are trusted, and what ours are signed with."""

from __future__ import annotations

from cryptography import x509

from alertd.common.errors import ConfigError
from alertd.config.sections import CapSection
from alertd.model.cap.signatures import Issuer, Signer


def issuers_of(settings: CapSection) -> tuple[Issuer, ...]:
    """Those who are known; empty where no signature is looked at. Raises ConfigError for a certificate that is none."""
    try:
        return tuple(
            Issuer(
                certificate=x509.load_pem_x509_certificate(one.certificate.get_secret_value().encode()),
                senders=one.senders,
            )
            for one in settings.issuers or ()
        )
    except ValueError:
        raise ConfigError("cap.issuers: a certificate is a file in PEM (-----BEGIN CERTIFICATE-----)") from None


def signer_of(settings: CapSection) -> Signer | None:
    """What signs, if anything does. Raises ConfigError for a key or a certificate that is none, or one without the other."""
    if settings.key is None and settings.certificate is None:
        return None
    if settings.key is None or settings.certificate is None:
        raise ConfigError("cap.key and cap.certificate: give both, or none")
    try:
        return Signer(settings.key.get_secret_value().encode(), settings.certificate.get_secret_value().encode())
    except ValueError as error:
        own = str(error) if "CAP" in str(error) else "each is a file in PEM, and the key has no password"
        raise ConfigError(f"cap.key and cap.certificate: {own}") from None
