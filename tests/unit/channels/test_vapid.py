"""Who we are to push services: one token for each, signed by our key, made anew in time."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import ECKey

from channels.vapid import LIFE_S, RENEW_S, Vapid


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
