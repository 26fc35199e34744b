"""DKIM signatures, verified by dkimpy, which shares no line with ours."""

from __future__ import annotations

import base64

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from channels.base import OPT_OUT_PLACEHOLDER, Loudness, MailMessage, Recipient, Stamp
from channels.dkim import Common, DkimSettings, Signer, relaxed_body, relaxed_header
from channels.mail_message import MailIdentity, encode

STAMP = Stamp(chain="c1", version="v1", sent_s=0, expires_s=86_400, loudness=Loudness.LOUD, language="es")
MESSAGE = MailMessage(
    stamp=STAMP, subject="Niña desaparecida: 漢字 " * 9, text=".\nLucía\t, 7 años \n..\n\n\n", html="<p>Lucía</p>"
)
NOW_S = 1_700_000_000


def pem(key) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


RSA, ED = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()
KEYS = {
    "r1": (RSA, "rsa", RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
    "e1": (ED, "ed25519", ED.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)),
}
DNS = {
    f"{selector}._domainkey.a.example": f"v=DKIM1; k={kind}; p={base64.b64encode(public).decode()}"
    for selector, (_, kind, public) in KEYS.items()
}
SIGNERS = tuple(
    Signer(DkimSettings(domain="a.example", selector=name, key=pem(key))) for name, (key, _, _) in KEYS.items()
)
IDENTITY = MailIdentity(
    sender="Alertas <alerts@a.example>", domain="a.example", unsubscribe_base="https://a.example", signers=SIGNERS
)


def mail(address="p@people.example", message=MESSAGE):
    raw = encode(message, IDENTITY).to(address, Recipient(address, "tag_1", leave="leave_1", is_new=True), NOW_S)
    return raw.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")


def verified(raw: bytes) -> list[bool]:
    look_up = lambda name, **_: DNS.get(name.decode().rstrip("."), "").encode()  # noqa: E731
    return [holds(dkim.DKIM(raw), index, look_up) for index in range(len(SIGNERS))]


def holds(checked, index, look_up) -> bool:
    try:
        return checked.verify(index, dnsfunc=look_up)
    except dkim.ValidationError:
        return False


@pytest.mark.parametrize("address", ["p@people.example", "用户@people.example"])
@pytest.mark.parametrize("text", ["", "x", "a  b \t\r\n\r\n", ".\n.\n", "ñ" * 3000])
def test_each_signature_holds(address, text):
    """RSA and Ed25519, over headers of one's own and whatever text."""
    message = MailMessage(stamp=STAMP, subject=MESSAGE.subject, text=text, html=text)
    assert verified(mail(address, message)) == [True, True]


def test_domains_have_keys_of_their_own_and_selectors_change():
    """The old selector and the new one of the sender's domain, and a relay's own domain: each signs, and is found under its name."""
    names = [("a.example", "r1"), ("a.example", "e1"), ("relay.example", "e1")]
    signers = tuple(Signer(DkimSettings(domain=d, selector=s, key=pem(KEYS[s][0]))) for d, s in names)
    identity = MailIdentity(sender="a@a.example", domain="a.example", unsubscribe_base=None, signers=signers)
    raw = encode(MESSAGE, identity).to("p@people.example", Recipient("p@people.example", "t", is_new=True), NOW_S)
    raw = raw.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
    asked = []

    def look_up(name, **_):
        asked.append(name.decode().rstrip("."))
        return DNS.get(asked[-1].replace("relay.example", "a.example"), "").encode()

    assert [holds(dkim.DKIM(raw), index, look_up) for index in range(3)] == [True] * 3
    assert asked == [f"{selector}._domainkey.{domain}" for domain, selector in names]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"tag_1@", b"tag_2@"),
        (b"u/leave_1", b"u/leave_2"),
        (b"One-Click", b"Two-Click"),
        (b"Auto-Submitted: auto", b"Auto-Submitted: manu"),
        (b"Feedback-ID: c1", b"Feedback-ID: c2"),
        (b"Luc", b"Ana"),
        (b"From: Alertas", b"From: Other <o@a.example>\r\nFrom: Alertas"),
        (b"Subject:", b"Subject: x\r\nSubject:"),
    ],
)
def test_what_is_signed_cannot_be_changed(old, new):
    """Leaving by one click is signed (RFC 8058 4), and so is that there is one sender and one subject."""
    raw = mail()
    assert raw.count(old) >= 1
    assert verified(raw.replace(old, new)) == [False, False]


@pytest.mark.parametrize("base", ["https://a.example/u/", "https://a.example/" + "x" * 70 + "/u/", "ñ \t"])
def test_a_signature_holds_over_each_readers_own_link(base):
    """Wherever the link stands in a line, and nobody can put another in its place."""
    text, page = (
        f".\n\nLeave: {base}{OPT_OUT_PLACEHOLDER}\n",
        f'<p>x</p>  <a href="{base}{OPT_OUT_PLACEHOLDER}">{base}{OPT_OUT_PLACEHOLDER}</a>\n\n',
    )
    message = MailMessage(stamp=STAMP, subject="s", text=text, html=page)
    raw = mail(message=message)
    assert verified(raw) == [True, True]
    assert raw.count(b"leave_1") == 4  # a header, and three links
    head, body = raw.split(b"\r\n\r\n", 1)
    assert verified(head + b"\r\n\r\n" + body.replace(b"leave_1", b"leave_2", 1)) == [False, False]


def test_relays_may_fold_and_pad():
    """Spaces and folds that relays change on the way change nothing."""
    raw = mail().replace(b"Feedback-ID: ", b"feedback-ID: \r\n\t ").replace(b"\r\nPrecedence:", b" \r\nPrecedence:")
    assert verified(raw) == [True, True]


def test_the_relaxed_forms_are_those_of_the_standard():
    """The example of RFC 6376 3.4.5."""
    assert relaxed_header(b"A", b" X ") + relaxed_header(b"B ".strip(), b" Y\t\r\n\tZ  ") == b"a:X\r\nb:Y Z\r\n"
    assert relaxed_body(b" C \r\nD \t E\r\n\r\n\r\n") == b" C\r\nD E\r\n"
    assert relaxed_body(b"\r\n\r\n") == b""


def test_what_mails_have_in_common_is_hashed_once():
    """A thousand mails differ in their signatures, and none changes what the next begins with."""
    common = Common(b"From: a@a.example\r\n", [b"x\r\n"])
    first = common.signatures(b"To: a\r\n", SIGNERS[:1], NOW_S)
    assert common.signatures(b"To: b\r\n", SIGNERS[:1], NOW_S) != first
    assert common.signatures(b"To: a\r\n", SIGNERS[:1], NOW_S) == first


@pytest.mark.parametrize(
    "key",
    [
        "",
        "correct horse",
        pem(rsa.generate_private_key(65537, 1024)),
        pem(ec.generate_private_key(ec.SECP256R1())),
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_a_key_that_receivers_would_not_take_is_refused(key):
    """With its name in the DNS and never with what is in it."""
    with pytest.raises(ValueError, match=r"r1\._domainkey\.a\.example") as refused:
        Signer(DkimSettings(domain="a.example", selector="r1", key=key))
    assert key == "" or key not in str(refused.value)


@pytest.mark.parametrize("name", ["", "a;b", "a b", "a\r\nb", "-a"])
def test_a_name_that_is_none_is_refused(name):
    """It would change what the header says."""
    with pytest.raises(ValueError, match="DNS"):
        Signer(DkimSettings(domain="a.example", selector=name, key=pem(ED)))


def test_a_key_is_not_shown():
    """Settings are printed and logged."""
    assert "PRIVATE" not in repr(DkimSettings(domain="a.example", selector="r1", key=pem(ED)))
