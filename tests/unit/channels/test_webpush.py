"""Web push: the answers of push services, read as their standards and makers say, and the token that they know us by."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import ECKey

from channels.base import ACCEPTED, Answer, Outcome, Reason
from channels.posting import Reply
from channels.webpush import LIFE_S, RENEW_S, Vapid, outcome


@pytest.mark.parametrize(("reply", "expected"), [
    (Reply(201, {"location": "https://push.example/m/1"}, b""), ACCEPTED),
    (Reply(202, {}, b""), ACCEPTED),
    (Reply(200, {}, b"<html>sign in</html>"), Outcome(Answer.UNKNOWN, Reason.GARBAGE)),
    (Reply(404, {}, b""), Outcome(Answer.NEVER, Reason.GONE)),
    (Reply(410, {}, b'{"errno": 106}'), Outcome(Answer.NEVER, Reason.GONE)),
    (Reply(400, {}, b""), Outcome(Answer.NEVER, Reason.BAD_MESSAGE)),
    (Reply(400, {}, b" \n<html><h1>400 Bad Request</h1>"), Outcome(Answer.RETRY, Reason.GARBAGE)),
    (Reply(413, {}, b"<!DOCTYPE html>"), Outcome(Answer.RETRY, Reason.GARBAGE)),
    (Reply(413, {}, b""), Outcome(Answer.NEVER, Reason.BAD_MESSAGE)),
    (Reply(401, {}, b'{"errno": 109}'), Outcome(Answer.RETRY, Reason.CREDENTIALS)),
    (Reply(403, {}, b'{"reason": "BadJwtToken"}'), Outcome(Answer.RETRY, Reason.CREDENTIALS)),
    (Reply(403, {}, b'{"reason": "ExpiredJwtToken"}'), Outcome(Answer.RETRY, Reason.CREDENTIALS)),
    (Reply(403, {}, b"permission denied: invalid JWT provided\n"), Outcome(Answer.RETRY, Reason.CREDENTIALS)),
    (Reply(403, {}, b"exp claim MUST NOT be more than 24 hours from the time of the request"),
     Outcome(Answer.RETRY, Reason.CREDENTIALS)),
    (Reply(403, {}, b'{"reason": "VapidPkHashMismatch"}'), Outcome(Answer.NEVER, Reason.BAD_ADDRESS)),
    (Reply(403, {}, b"the key is not that of this subscription"), Outcome(Answer.NEVER, Reason.BAD_ADDRESS)),
    (Reply(429, {"retry-after": "7"}, b""), Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=7.0)),
    (Reply(429, {}, b""), Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=60.0)),
    (Reply(406, {}, b""), Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=60.0)),
    (Reply(500, {}, b""), Outcome(Answer.RETRY, Reason.UNAVAILABLE)),
    (Reply(503, {"retry-after": "30"}, b""), Outcome(Answer.RETRY, Reason.UNAVAILABLE, retry_after_s=30.0)),
    (Reply(502, {}, b""), Outcome(Answer.UNKNOWN, Reason.UNAVAILABLE)),
    (Reply(504, {}, b""), Outcome(Answer.UNKNOWN, Reason.TIMEOUT)),
    (Reply(302, {}, b""), Outcome(Answer.RETRY, Reason.GARBAGE)),
    (Reply(418, {}, b"\xff"), Outcome(Answer.RETRY, Reason.GARBAGE)),
])  # fmt: skip
def test_each_answer_means_what_its_maker_says(reply, expected):
    """One row per answer; only 404 and 410 remove an address, and what may be our own key's fault gives nobody up."""
    assert outcome(reply) == expected
    assert outcome(reply).address_gone == (expected.reason is Reason.GONE)


def pem(key, form=PrivateFormat.PKCS8, lock=None):
    return key.private_bytes(Encoding.PEM, form, lock or NoEncryption()).decode()


KEY = ec.generate_private_key(ec.SECP256R1())
ORIGIN = "https://push.example"


class Clock:
    now_s = 1_000_000.0

    def __call__(self):
        return self.now_s


def claims(header):
    token = header.removeprefix("vapid t=").partition(",")[0]
    return jwt.decode(token, ECKey.import_key(KEY.public_key()), algorithms=["ES256"]).claims


def test_a_token_says_for_whom_it_is_from_whom_and_until_when():
    """RFC 8292 section 2: the audience is the push service, a day is the longest; beside it stands our key."""
    vapid = Vapid(pem(KEY), "mailto:ops@centre.example", Clock())
    header = vapid.authorization(ORIGIN)
    assert claims(header) == {"aud": ORIGIN, "exp": Clock.now_s + LIFE_S, "sub": "mailto:ops@centre.example"}
    assert header.endswith(f", k={vapid.public_key}")
    assert len(vapid.public_key) == 87


@pytest.mark.parametrize(("later_s", "is_same"), [(0, True), (RENEW_S - 1, True), (RENEW_S, False), (-1, False)])
def test_a_token_is_kept_for_half_its_life(later_s, is_same):
    """To sign takes longer than to seal a message. A clock that was put back makes it anew, too."""
    clock = Clock()
    vapid = Vapid(pem(KEY), "https://centre.example/contact", clock)
    first = vapid.authorization(ORIGIN)
    clock.now_s += later_s
    assert (vapid.authorization(ORIGIN) == first) == is_same
    assert claims(vapid.authorization("https://other.example"))["aud"] == "https://other.example"


def test_a_token_that_was_refused_is_not_shown_again():
    vapid = Vapid(pem(KEY), "mailto:ops@centre.example", Clock())
    first = vapid.authorization(ORIGIN)
    vapid.forget(ORIGIN)
    assert vapid.authorization(ORIGIN) != first


def test_a_key_is_taken_as_openssl_writes_it():
    """`openssl ecparam -genkey` writes the older of both forms."""
    old = pem(KEY, PrivateFormat.TraditionalOpenSSL)
    assert (
        Vapid(old, "mailto:a@b.example", Clock()).public_key
        == Vapid(pem(KEY), "mailto:a@b.example", Clock()).public_key
    )


@pytest.mark.parametrize(("key", "contact"), [
    ("", "mailto:ops@centre.example"),
    ("no key", "mailto:ops@centre.example"),
    (pem(rsa.generate_private_key(65537, 2048)), "mailto:ops@centre.example"),
    (pem(ec.generate_private_key(ec.SECP384R1())), "mailto:ops@centre.example"),
    (pem(KEY, lock=BestAvailableEncryption(b"secret")), "mailto:ops@centre.example"),
    (pem(KEY), "ops@centre.example"),
    (pem(KEY), "http://centre.example"),
])  # fmt: skip
def test_what_push_services_would_refuse_is_refused_at_the_start(key, contact):
    with pytest.raises(ValueError, match=r"key|contact") as told:
        Vapid(key, contact, Clock())
    assert "BEGIN" not in str(told.value)
    assert ("prime256v1" in str(told.value)) == (
        key != pem(KEY)
    )  # a wrong key comes with the command that makes a right one
