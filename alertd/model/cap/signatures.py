"""Signatures of CAP documents (section 3.3.4.2, XML Signature): signed with a configured key, verified with configured
certificates. A certificate inside a document proves nothing, because a forger can include one.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod
from signxml.exceptions import InvalidInput, SignXMLException
from signxml.signer import XMLSigner
from signxml.verifier import SignatureConfiguration, XMLVerifier

from alertd.common.errors import Fault
from alertd.model.cap.messages import CapError, Message
from alertd.model.cap.parsing import line_of, parsed
from alertd.model.cap.reader import SIGNATURE, parse_message

#: The accepted signature methods: only public-key methods, and none with SHA-1, for which forgeries exist.
METHODS = frozenset(
    SignatureMethod[name]
    for name in (
        "RSA_SHA256", "RSA_SHA384", "RSA_SHA512", "SHA256_RSA_MGF1", "SHA384_RSA_MGF1", "SHA512_RSA_MGF1",
        "ECDSA_SHA256", "ECDSA_SHA384", "ECDSA_SHA512",
    )
)  # fmt: skip
DIGESTS = frozenset({DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512})
_EXPECTED = SignatureConfiguration(
    require_x509=True, location="./", expect_references=1, signature_methods=METHODS, digest_algorithms=DIGESTS
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """A certificate and the senders for which it may sign."""

    certificate: x509.Certificate
    senders: tuple[str, ...]


class Signer:
    """Signs documents with one key."""

    def __init__(self, key: bytes, certificate: bytes) -> None:
        """`key` and `certificate` are PEM.

        Raises ValueError if the key is neither RSA nor elliptic-curve, or does not match the certificate.
        """
        private, self._certificate = load_pem_private_key(key, None), x509.load_pem_x509_certificate(certificate)
        if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise ValueError("a key that signs CAP is an RSA or an elliptic curve key")  # noqa: TRY004  it is a value of the configuration
        if private.public_key() != self._certificate.public_key():
            raise ValueError("the key that signs CAP is not that of its certificate")
        self._key = private
        is_rsa = isinstance(private, rsa.RSAPrivateKey)
        self._method = SignatureMethod.RSA_SHA256 if is_rsa else SignatureMethod.ECDSA_SHA256

    def signed(self, raw: bytes) -> bytes:
        """Returns the document with its signature as the last element."""
        signer = XMLSigner(
            signature_algorithm=self._method, c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0
        )
        root = signer.sign(parsed(raw), key=self._key, cert=[self._certificate])
        return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def check_signature(raw: bytes, message: Message, issuers: Sequence[Issuer], at: datetime) -> None:
    """Raises CapError unless the document has one valid signature over exactly this message.

    The certificate must be configured for the message's sender and valid at the time `at`.
    """
    known = [issuer.certificate for issuer in issuers if message.sender in issuer.senders]
    if not known:
        raise CapError(
            (Fault("/sender", "No certificate is known for this sender.", line=message.lines.get("/sender", 1)),)
        )
    root = parsed(raw)
    found = root.findall(SIGNATURE)
    if len(found) != 1:
        raise _refusal(root, "The document must have one signature.")
    valid = [one for one in known if one.not_valid_before_utc <= at <= one.not_valid_after_utc]
    if not valid:
        raise _refusal(found[0], "The certificate that is known for this sender has ended, or has not begun.")
    if not any(_is_signed(root, message, certificate, at) for certificate in valid):
        raise _refusal(
            found[0], "The signature is not that of this document by a certificate that is known for its sender."
        )


def _is_signed(root: etree._Element, message: Message, certificate: x509.Certificate, at: datetime) -> bool:
    """Returns whether the certificate's signature covers exactly this message. Parses the signed part again, because
    the signature may cover another element.
    """
    expected = dataclasses.replace(_EXPECTED, verification_time=at)  # the default is the machine's time
    try:
        result = XMLVerifier().verify(copy.deepcopy(root), x509_cert=certificate, expect_config=expected)
        return not isinstance(result, list) and parse_message(result.signed_data) == message
    except (SignXMLException, InvalidInput, CapError, ValueError, TypeError, KeyError, etree.LxmlError):
        return False  # any error means that the signature is not valid


def _refusal(element: etree._Element, sentence: str) -> CapError:
    """Returns the CapError of a signature, with the line of this element."""
    return CapError((Fault("/Signature", sentence, line=line_of(element)),))
