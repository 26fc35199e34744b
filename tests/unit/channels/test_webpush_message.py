"""What a browser gets: sealed as RFC 8291 says, whole, and short enough for every push service."""

import base64
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from channels.base import Loudness, PushMessage, Stamp
from channels.webpush_message import (
    CURVE,
    HEAD_BYTES,
    RECORD_BYTES,
    SALT_BYTES,
    Subscription,
    base64url,
    derived,
    encode,
    seal,
)

STAMP = Stamp(chain="chain-1", version="v2", sent_s=1_000, expires_s=5_000, loudness=Loudness.LOUD, language="es")
MESSAGE = PushMessage(
    stamp=STAMP,
    title="Niña desaparecida",
    body="Lucía, 7 años",
    url="https://a.example/a/1",
    image_url="https://a.example/m/1",
)
BROWSER = ec.generate_private_key(CURVE)
POINT = BROWSER.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
SECRET = b"0123456789abcdef"
SUBSCRIPTION = Subscription("https://push.example/1", POINT, SECRET)


def raw(text):
    return base64.urlsafe_b64decode(text + "==")


def opened(body):
    """As the browser does."""
    salt, sender, record = body[:SALT_BYTES], body[SALT_BYTES + 5 : HEAD_BYTES], body[HEAD_BYTES:]
    shared = BROWSER.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, sender))
    key, nonce = derived(shared, SUBSCRIPTION, sender, salt)
    text = AESGCM(key).decrypt(nonce, record, None)
    assert text.endswith(b"\x02")
    return text[:-1]


def shown(message=MESSAGE, tag="tag-1"):
    return json.loads(opened(encode(message).sealed(SUBSCRIPTION, tag)))["notification"]


def test_the_keys_are_those_of_the_example_in_the_rfc():
    """RFC 8291 section 5: with its keys, secret and salt come its content encryption key and its nonce."""
    theirs = raw("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4")
    ours = ec.derive_private_key(int.from_bytes(raw("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big"), CURVE)
    point = ours.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    shared = ours.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, theirs))
    subscription = Subscription("", theirs, raw("BTBZMqHH6r4Tts7J_aSIgg"))
    key, nonce = derived(shared, subscription, point, raw("DGv6ra1nlYgDCS1FRnbzlw"))
    assert (base64url(key), base64url(nonce)) == ("oIhVW04MRdy2XN9CiKLxTg", "4h_95klXJ5E_qnoN")


def test_the_service_worker_gets_what_the_apps_get():
    """A notification as it is shown, and beside it what makes late messages harmless, as the apps have it."""
    notification = shown()
    assert notification["data"] == {
        "schema": "1", "chain": "chain-1", "version": "v2", "sequence": "1", "kind": "general", "occasion": "alert",
        "status": "Actual", "sent": "1000", "expires": "5000", "loudness": "loud", "language": "es",
        "url": "https://a.example/a/1", "ack": "tag-1",
    }  # fmt: skip
    assert (notification["title"], notification["body"]) == ("Niña desaparecida", "Lucía, 7 años")
    assert (notification["tag"], notification["lang"]) == ("chain-1", "es")
    assert (notification["navigate"], notification["image"]) == ("https://a.example/a/1", "https://a.example/m/1")


@pytest.mark.parametrize(("loudness", "urgency", "stays", "silent"), [
    (Loudness.LOUD, "high", True, False),
    (Loudness.NORMAL, "high", False, False),
    (Loudness.SILENT, "normal", False, True),
])  # fmt: skip
def test_how_loud_it_is_is_said_to_the_service_and_to_the_browser(loudness, urgency, stays, silent):
    """What is loud stays until somebody has seen it; what is silent makes no sound when it takes another's place."""
    message = replace(MESSAGE, stamp=replace(STAMP, loudness=loudness))
    notification = shown(message)
    assert encode(message).headers_at(0)["Urgency"] == urgency
    assert notification["requireInteraction"] == stays
    assert (notification["silent"], notification["renotify"]) == (silent, not silent)


@pytest.mark.parametrize(("now_s", "ttl"), [(2_000.4, "2999"), (6_000.0, "0"), (-9e9, "2419200")])
def test_the_time_to_live_is_what_is_left_when_it_is_sent(now_s, ttl):
    assert encode(MESSAGE).headers_at(now_s)["TTL"] == ttl


def test_one_chain_waits_once():
    """What waits for a browser that is off is replaced by what follows it: its topic is the chain."""
    assert encode(MESSAGE).headers_at(0)["Topic"] == "chain-1"
    for chain in ("", "x" * 33, "chain 1", "añil"):
        with pytest.raises(ValueError, match="topic"):
            encode(replace(MESSAGE, stamp=replace(STAMP, chain=chain)))


@pytest.mark.parametrize("body", ["ñ" * 5_000, "👨‍👩‍👧" * 900, '"\\' * 3_000])
def test_what_is_long_is_cut_to_what_every_push_service_takes(body):
    """With the longest tag it is one record of 4,096 bytes or less, and the title is whole."""
    message = replace(MESSAGE, body=body)
    sealed = encode(message).sealed(SUBSCRIPTION, "t" * 128)
    notification = json.loads(opened(sealed))["notification"]
    assert RECORD_BYTES - 40 < len(sealed) <= RECORD_BYTES
    assert notification["title"] == MESSAGE.title
    assert notification["body"].endswith("…")
    assert body.startswith(notification["body"].rstrip("…"))


def test_a_message_that_cannot_be_short_enough_is_refused():
    with pytest.raises(ValueError, match="too long"):
        encode(replace(MESSAGE, title="x" * 5_000))


def test_no_two_messages_are_sealed_alike():
    """A key and a salt of its own for each: whoever reads the wire cannot tell that two browsers got the same."""
    bodies = [seal(b"the same", SUBSCRIPTION) for _ in range(20)]
    assert len({body[:SALT_BYTES] for body in bodies}) == 20
    assert len({body[SALT_BYTES + 5 : HEAD_BYTES] for body in bodies}) == 20


@pytest.mark.parametrize("address", [
    "", "https://push.example/1", f"https://push.example/1 {base64url(POINT)}",
    f"https://push.example/1 {base64url(POINT)} {base64url(SECRET[:15])}",
    f"https://push.example/1 {base64url(POINT[:64])} {base64url(SECRET)}",
    f"https://push.example/1 {base64url(POINT)}? {base64url(SECRET)}",
    f"https://push.example/ñ {base64url(POINT)} {base64url(SECRET)}",
    f"https://push.example/\r\nX: {base64url(POINT)} {base64url(SECRET)}",
    f"https://push.example/{'x' * 2_048} {base64url(POINT)} {base64url(SECRET)}",
])  # fmt: skip
def test_what_is_no_subscription_is_none(address):
    with pytest.raises(ValueError, match=r".+"):
        Subscription.parse(address)


def test_a_push_service_is_named_as_its_tokens_name_it():
    """Scheme, host and port, without the port that is meant anyway (RFC 6454 section 6.2)."""
    for endpoint, origin, path in [
        ("https://push.example/a/b?c=d", "https://push.example", "/a/b?c=d"),
        ("https://push.example:443/", "https://push.example", "/"),
        ("https://push.example:8443", "https://push.example:8443", "/"),
    ]:
        subscription = Subscription(endpoint, POINT, SECRET)
        assert (subscription.origin, subscription.path) == (origin, path)
