"""FCM: its answers, read as the published table of error codes says, and a message as it takes it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from firebase_admin import messaging

from channels.base import Answer, Loudness, Outcome, PushMessage, Reason, Stamp, Subject
from channels.fcm import PAYLOAD_BYTES, body_for, encode, outcome, token_refused
from channels.posting import Reply

FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


def refused(status, fcm_code=None, fields=(), headers=None):
    details = [{"@type": FCM_ERROR, "errorCode": fcm_code}] if fcm_code else []
    if fields:
        details.append({"@type": BAD_REQUEST, "fieldViolations": [{"field": field} for field in fields]})
    body = {"error": {"code": status, "message": "m", "status": "S", "details": details}}
    return Reply(status, headers or {}, json.dumps(body).encode())


def over_quota(delay):
    """As FCM says which quota is used up, and Google's other services how long to wait."""
    quota = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"subject": "device"}]}
    wait = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
    details = [{"@type": FCM_ERROR, "errorCode": "QUOTA_EXCEEDED"}, quota, wait]
    body = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": details}}
    return Reply(429, {}, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            Reply(200, {}, b'{"name": "projects/p/messages/1"}'),
            Outcome(Answer.ACCEPTED, message_id="projects/p/messages/1"),
        ),
        (refused(404, "UNREGISTERED"), Outcome(Answer.NEVER, Reason.GONE)),
        (refused(404), Outcome(Answer.RETRY, Reason.GARBAGE)),
        (refused(400, "UNREGISTERED"), Outcome(Answer.NEVER, Reason.BAD_ADDRESS)),
        (refused(400, "INVALID_ARGUMENT", ["message.token"]), Outcome(Answer.NEVER, Reason.BAD_ADDRESS)),
        (refused(400, "INVALID_ARGUMENT", ["message.android.ttl"]), Outcome(Answer.NEVER, Reason.BAD_MESSAGE)),
        (refused(400, None, ["message.data"]), Outcome(Answer.NEVER, Reason.BAD_MESSAGE)),
        (refused(400, "INVALID_ARGUMENT"), Outcome(Answer.NEVER, Reason.BAD_ADDRESS)),
        (Reply(400, {}, b"<html>"), Outcome(Answer.RETRY, Reason.GARBAGE)),
        (refused(403, "SENDER_ID_MISMATCH"), Outcome(Answer.NEVER, Reason.BAD_ADDRESS)),
        (refused(403), Outcome(Answer.RETRY, Reason.CREDENTIALS)),
        (refused(400, "INVALID_ARGUMENT", ["message.fid"]), Outcome(Answer.NEVER, Reason.BAD_ADDRESS)),
        (refused(400, "UNSPECIFIED_ERROR"), Outcome(Answer.RETRY, Reason.GARBAGE, of=Subject.RECIPIENT)),
        (refused(500, "INTERNAL"), Outcome(Answer.RETRY, Reason.UNAVAILABLE)),
        (refused(503, "UNAVAILABLE"), Outcome(Answer.RETRY, Reason.UNAVAILABLE)),
        (refused(401), Outcome(Answer.RETRY, Reason.CREDENTIALS)),
        (refused(401, "APNS_AUTH_ERROR"), Outcome(Answer.RETRY, Reason.CREDENTIALS)),
        (over_quota("60s"), Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=60.0)),
        (refused(401, "THIRD_PARTY_AUTH_ERROR"), Outcome(Answer.RETRY, Reason.CREDENTIALS)),
        (refused(429, "QUOTA_EXCEEDED"), Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=60.0)),
        (refused(429, headers={"retry-after": "7"}), Outcome(Answer.RETRY, Reason.THROTTLED, retry_after_s=7.0)),
        (refused(500), Outcome(Answer.RETRY, Reason.UNAVAILABLE)),
        (refused(503, headers={"retry-after": "30"}), Outcome(Answer.RETRY, Reason.UNAVAILABLE, retry_after_s=30.0)),
        (Reply(200, {}, b"<html>sign in</html>"), Outcome(Answer.UNKNOWN, Reason.GARBAGE)),
        (Reply(200, {}, b'{"name": 5}'), Outcome(Answer.UNKNOWN, Reason.GARBAGE)),
        (Reply(302, {}, b""), Outcome(Answer.RETRY, Reason.GARBAGE)),
        (Reply(400, {}, b'{"error": "text"}'), Outcome(Answer.RETRY, Reason.GARBAGE)),
        (Reply(500, {}, b'{"error": {"details": {"no": "list"}}}'), Outcome(Answer.RETRY, Reason.UNAVAILABLE)),
        (Reply(404, {}, b'{"error": {"details": ["text", null]}}'), Outcome(Answer.RETRY, Reason.GARBAGE)),
        (Reply(503, {}, b"\xff\xfe"), Outcome(Answer.RETRY, Reason.UNAVAILABLE)),
    ],
)
def test_each_answer_means_what_fcm_says(reply, expected):
    """One row per answer; only 404 with UNREGISTERED removes an address."""
    assert outcome(reply) == expected
    assert outcome(reply).address_gone == (expected.reason is Reason.GONE)


def test_only_our_own_token_is_fetched_again():
    """A wrong APNs key is a 401 as well, and no access token mends it."""
    assert token_refused(refused(401))
    assert not token_refused(refused(401, "THIRD_PARTY_AUTH_ERROR"))
    assert not token_refused(refused(403))


STAMP = Stamp(chain="chain-1", version="v2", sent_s=1_000, expires_s=5_000, loudness=Loudness.LOUD, language="es")
MESSAGE = PushMessage(stamp=STAMP, title="Niña desaparecida", body="Lucía, 7 años", url="https://a.example/a/1")


def spliced(message=MESSAGE, token="tok", tag="tag-1", now_s=2_000.0):
    return body_for(encode(message).at(now_s), token, tag)


def test_the_app_gets_what_makes_late_messages_harmless():
    """Every payload carries what tells it from an older one and how long it counts, and the acknowledgement tag, as strings."""
    message = json.loads(spliced())["message"]
    assert message["token"] == "tok"
    assert message["data"] == {
        "schema": "1",
        "chain": "chain-1",
        "version": "v2",
        "sequence": "1",
        "kind": "general",
        "occasion": "alert",
        "status": "Actual",
        "sent": "1000",
        "expires": "5000",
        "loudness": "loud",
        "language": "es",
        "url": "https://a.example/a/1",
        "ack": "tag-1",
    }
    assert message["android"]["notification"]["tag"] == "chain-1"


@pytest.mark.parametrize(("now_s", "ttl"), [(2_000.4, "2999s"), (6_000.0, "0s"), (-9e9, "2419200s")])
def test_time_to_live_is_what_is_left_when_it_is_sent(now_s, ttl):
    """Android counts from the hand-over, so the same prepared message is given a shorter life later; APNs takes the moment itself."""
    message = json.loads(spliced(now_s=now_s))["message"]
    assert message["android"]["ttl"] == ttl
    assert message["apns"]["headers"]["apns-expiration"] == "5000"


@pytest.mark.parametrize(
    ("address", "field"),
    [
        ("dQw4w9WgXcQ_0123456789", "fid"),
        ("dQw4w9WgXcQ_0123456789:APA91bH", "token"),
        ("aQw4w9WgXcQ_0123456789", "token"),
    ],
)
def test_an_installation_is_named_as_what_it_is(address, field):
    """An address that is a Firebase installation ID goes as `fid`, any other as a token, and never both."""
    message = json.loads(spliced(token=address))["message"]
    assert {name: message.get(name) for name in ("fid", "token")} == {"fid": None, "token": None, field: address}


def test_only_who_is_entitled_sounds_on_muted_phones():
    """Critical is for what is loud, and for a carrier that says its app may."""
    for loudness in Loudness:
        message = replace(MESSAGE, stamp=replace(STAMP, loudness=loudness))
        aps = json.loads(body_for(encode(message, critical=True).at(0), "t", "a"))["message"]["apns"]["payload"]["aps"]
        assert (aps["interruption-level"] == "critical") == (loudness is Loudness.LOUD)
        assert (aps.get("sound") == {"name": "default", "critical": 1, "volume": 1.0}) == (loudness is Loudness.LOUD)


@pytest.mark.parametrize("evil", ['"},"topic":"all","x":{"', "back\\slash", "línea\n", "\u2028", "\x00"])
def test_a_token_stays_inside_its_string(evil):
    """Whatever an address holds, it is one JSON string and the rest of the message is as it was."""
    message = json.loads(spliced(token=evil))["message"]
    assert message.pop("token") == evil
    plain = json.loads(spliced())["message"]
    del plain["token"]
    assert message == plain


@pytest.mark.parametrize("unit", ["a", "ñ", "漢", "👧🏽", "e\u0301", '"', "👨\u200d👩\u200d👧"])
def test_a_long_body_is_cut_between_characters_and_fits(unit):
    """The payload never exceeds FCM's limit, the title survives, and no character is split, not even one of several code points."""
    message = MESSAGE.__class__(stamp=STAMP, title=MESSAGE.title, body=unit * 4_000)
    body = spliced(message, tag="t" * 128)
    assert PAYLOAD_BYTES - 60 < len(body) - len("tok") <= PAYLOAD_BYTES
    notification = json.loads(body)["message"]["notification"]
    assert notification["title"] == MESSAGE.title
    kept, ellipsis = notification["body"][:-1], notification["body"][-1]
    assert ellipsis == "…"
    assert kept == unit * (len(kept) // len(unit))


@pytest.mark.parametrize("size", [0, 600, 5_000])
@pytest.mark.parametrize("image", [50, 3_000, 9_000])
@pytest.mark.parametrize("url", [50, 3_000, 9_000])
def test_a_picture_and_a_link_give_way_to_the_text(size, image, url):
    """The picture goes first, then the link; both stay where they fit beside the first thousand bytes of the text."""
    named = {"image_url": "https://a.example/" + "i" * image, "url": "https://a.example/" + "u" * url}
    sent = spliced(replace(MESSAGE, body="a" * size, **named), tag="t" * 128)
    message = json.loads(sent)["message"]
    assert len(sent) - len("tok") <= PAYLOAD_BYTES
    assert len(message["notification"]["body"]) >= min(size, 1_000)
    linked = url == 50 or (url == 3_000 and size == 0)
    assert ("url" in message["data"]) == linked
    assert ("image" in message["notification"]) == ("fcm_options" in message["apns"]) == (linked and image == 50)


def test_what_cannot_fit_is_refused_when_it_is_prepared():
    """A title beyond the limit, or a chain that is no collapse id, fails before anybody is sent anything."""
    with pytest.raises(ValueError, match="too long"):
        encode(PushMessage(stamp=STAMP, title="x" * 5_000, body=""))
    long_chain = Stamp(chain="c" * 65, version="v", sent_s=0, expires_s=1, loudness=Loudness.LOUD, language="en")
    with pytest.raises(ValueError, match="collapse"):
        encode(PushMessage(stamp=long_chain, title="x", body=""))


@pytest.mark.parametrize(
    ("loudness", "android", "apns", "level"),
    [
        (Loudness.LOUD, "high", "10", "time-sensitive"),
        (Loudness.NORMAL, "high", "10", "active"),
        (Loudness.SILENT, "normal", "5", "passive"),
    ],
)
def test_loudness_reaches_both_phone_systems(loudness, android, apns, level):
    """Loud wakes the phone, silent makes no sound."""
    stamp = Stamp(chain="c", version="v", sent_s=0, expires_s=9, loudness=loudness, language="en")
    message = json.loads(spliced(PushMessage(stamp=stamp, title="t", body="b")))["message"]
    assert message["android"]["priority"] == android
    assert message["android"]["notification"]["channel_id"] == f"alert-{loudness.value}"
    assert message["apns"]["headers"]["apns-priority"] == apns
    assert message["apns"]["payload"]["aps"]["interruption-level"] == level
    assert ("sound" in message["apns"]["payload"]["aps"]) == (loudness is not Loudness.SILENT)


def test_the_private_parts_of_firebase_admin_are_as_we_use_them():
    """A new firebase-admin that moves the two functions fails here first."""
    service = messaging._MessagingService
    assert service.encode_message(messaging.Message(topic="t")) == {"topic": "t"}
    detail = {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED"}
    assert service._build_fcm_error({"details": [detail]}) is messaging.UnregisteredError


def test_a_photo_is_loaded_by_the_phone_itself():
    """Android reads the notification's image; iOS lets the app's extension change the message, and gets the image for it."""
    image = "https://a.example/m/1?size=push"
    message = json.loads(spliced(replace(MESSAGE, image_url=image)))["message"]
    assert message["notification"]["image"] == image
    assert message["apns"]["fcm_options"] == {"image": image}
    assert message["apns"]["payload"]["aps"]["mutable-content"] == 1
    plain = json.loads(spliced())["message"]
    assert "image" not in json.dumps(plain)
    assert plain["apns"]["payload"]["aps"]["mutable-content"] == 1  # the extension may ask for the state first
