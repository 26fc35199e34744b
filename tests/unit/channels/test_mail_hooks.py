"""What relays post to us: believed with the right proof alone, and read as each means it."""

from __future__ import annotations

import base64
import copy
import datetime as dt
import hashlib
import hmac
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channels.base import Reason, ReportState
from channels.bounces_hooks import (
    LIMIT_BYTES,
    HookUnavailableError,
    MailgunHook,
    NotVouchedError,
    PostmarkHook,
    SesHook,
)

NOW_S = 1_800_000_000.0
TOPIC = "arn:aws:sns:eu-west-1:123456789012:bounces"
CERTIFICATE = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123abcd.pem"
CONFIRM = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=x&Token=y"
FAILED, DELIVERED, ACCEPTED = ReportState.FAILED, ReportState.DELIVERED, ReportState.ACCEPTED
KEY = rsa.generate_private_key(65537, 2048)


def certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = dt.datetime.now(dt.UTC)
    built = x509.CertificateBuilder(name, name, KEY.public_key(), 1, now, now + dt.timedelta(days=1))
    return built.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


PEM = certificate()


class Aws:
    """Gives out the certificate, and keeps what it was asked for."""

    def __init__(self, gives=PEM):
        self.asked, self.gives = [], gives

    async def fetch(self, url):
        self.asked.append(url)
        if self.gives is None:
            raise HookUnavailableError
        return self.gives


def ses(**event):
    mail = {"source": "bounce+t4g_-@a.example", "headers": [{"name": "Message-ID", "value": "<0ther@a.example>"}]}
    return {"mail": mail, **event}


def bounced(kind, subtype, **recipient):
    one = {"emailAddress": "Ana@people.example", **recipient}
    return ses(
        notificationType="Bounce", bounce={"bounceType": kind, "bounceSubType": subtype, "bouncedRecipients": [one]}
    )


def sns(message, version="2", kind="Notification", **changes):
    posted = {
        "Type": kind,
        "MessageId": "m1",
        "TopicArn": TOPIC,
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": "2026-11-25T03:00:00.000Z",
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE,
        **changes,
    }
    names = sorted(
        {"Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"} & set(posted)
    )
    signed = "".join(f"{name}\n{posted[name]}\n" for name in names).encode()
    signature = KEY.sign(signed, PKCS1v15(), hashes.SHA1() if version == "1" else hashes.SHA256())
    return {**posted, "Signature": base64.b64encode(signature).decode()}


def posted(what) -> bytes:
    return json.dumps(what).encode()


async def read_ses(what, aws=None):
    return await SesHook(TOPIC, (aws or Aws()).fetch).parse({}, posted(what))


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize(
    ("event", "state", "reason"),
    [
        (bounced("Permanent", "NoEmail"), FAILED, Reason.GONE),
        (bounced("Permanent", "General", status="5.1.1"), FAILED, Reason.GONE),
        (bounced("Permanent", "General", status="5.7.1"), FAILED, Reason.BLOCKED),
        (bounced("Permanent", "OnAccountSuppressionList"), FAILED, Reason.BLOCKED),
        (bounced("Transient", "MailboxFull"), FAILED, Reason.UNAVAILABLE),
        (ses(eventType="Delivery", delivery={}), DELIVERED, Reason.NONE),
        (ses(eventType="Reject", reject={}), FAILED, Reason.BAD_MESSAGE),
    ],
)
async def test_ses_says_what_became_of_a_mail(version, event, state, reason):
    """By the return path, with the Message-ID as a second way."""
    (report,) = await read_ses(sns(event, version))
    assert (report.tags, report.state, report.reason) == (("t4g_-", "0ther"), state, reason)
    assert report.mailboxes <= {"ana@people.example"}
    assert not report.left


@pytest.mark.parametrize(
    ("event", "lefts"),
    [
        (ses(notificationType="Complaint", complaint={"complaintFeedbackType": "abuse"}), [True]),
        (ses(notificationType="Complaint", complaint={"complaintSubType": "OnAccountSuppressionList"}), [False]),
        (ses(notificationType="Complaint", complaint={"complaintFeedbackType": "not-spam"}), []),
        (bounced("Transient", "General"), []),
        (ses(eventType="Open"), []),
        ({}, []),
    ],
)
async def test_only_a_complaint_of_a_person_is_a_wish(event, lefts):
    """Neither SES's own list nor an automatic reply is one."""
    assert [report.left for report in await read_ses(sns(event))] == lefts


@pytest.mark.parametrize(
    "change",
    [
        {"Message": json.dumps(bounced("Permanent", "NoEmail", emailAddress="ben@people.example"))},
        {"TopicArn": TOPIC + "2"},
        {"Signature": ""},
        {"Signature": "ñ"},
        {"SignatureVersion": "3"},
        {"Type": "UnsubscribeConfirmation"},
        {"SigningCertURL": "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-0.pem"},
        {"SigningCertURL": "https://evil.example/SimpleNotificationService-0.pem"},
        {"SigningCertURL": "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem"},
        {"SigningCertURL": "https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-0.pem"},
        {"SigningCertURL": CERTIFICATE + "\n"},
        {"SigningCertURL": CERTIFICATE.replace("eu-west-1", "s3-us-west-2")},
        {"SigningCertURL": CERTIFICATE.replace("eu-west-1", "s3")},
        {"SigningCertURL": CERTIFICATE.replace("eu-west-1", "my-bucket")},
        {"SigningCertURL": "https://sns.eu-west-1.amazonaws.com/../x/SimpleNotificationService-0.pem"},
    ],
)
async def test_what_sns_did_not_sign_for_our_topic_is_not_believed(change):
    """And nothing is fetched from anywhere else."""
    aws = Aws()
    with pytest.raises(NotVouchedError):
        await read_ses({**sns(bounced("Permanent", "NoEmail")), **change}, aws)
    assert set(aws.asked) <= {CERTIFICATE}


async def test_another_topic_with_a_good_signature_is_not_believed():
    """Everybody can have a topic; ours is named in the settings."""
    with pytest.raises(NotVouchedError):
        await read_ses(sns(bounced("Permanent", "NoEmail"), TopicArn="arn:aws:sns:eu-west-1:999999999999:bounces"))


@pytest.mark.parametrize("pem", [b"", b"<html>", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
async def test_a_certificate_that_is_none_vouches_for_nothing(pem):
    """Whoever answered."""
    with pytest.raises(NotVouchedError):
        await read_ses(sns(bounced("Permanent", "NoEmail")), Aws(pem))


async def test_a_certificate_is_fetched_once_and_again_after_a_failure():
    """SNS is away for a while: whoever posts comes again."""
    aws = Aws(None)
    hook = SesHook(TOPIC, aws.fetch)
    with pytest.raises(HookUnavailableError):
        await hook.parse({}, posted(sns(ses(eventType="Delivery"))))
    aws.gives = b"<html>back soon</html>"
    with pytest.raises(NotVouchedError):
        await hook.parse({}, posted(sns(ses(eventType="Delivery"))))
    aws.gives = PEM
    for _ in range(3):
        assert await hook.parse({}, posted(sns(ses(eventType="Delivery"))))
    assert aws.asked == [CERTIFICATE] * 3


async def test_our_own_subscription_confirms_itself():
    """By fetching what SNS says, from SNS alone."""
    aws = Aws()
    confirmation = {"kind": "SubscriptionConfirmation", "Token": "y"}
    assert await read_ses(sns("You have chosen", SubscribeURL=CONFIRM, **confirmation), aws) == []
    assert aws.asked == [CERTIFICATE, CONFIRM]
    for url in (
        "https://evil.example/?Action=ConfirmSubscription&x",
        CONFIRM.replace("Confirm", "Other"),
        CONFIRM + " ",
        CONFIRM.replace("eu-west-1", "s3-us-west-2"),
    ):
        with pytest.raises(NotVouchedError):
            await read_ses(sns("You have chosen", SubscribeURL=url, **confirmation), aws)
    assert aws.asked[2:] == [CERTIFICATE] * 4


@pytest.mark.parametrize("region", ["us-gov-west-1", "us-iso-east-1", "ap-southeast-2", "mx-central-1"])
async def test_a_certificate_of_any_region_is_fetched(region):
    """As AWS names them."""
    where = CERTIFICATE.replace("eu-west-1", region)
    assert await read_ses(sns(ses(eventType="Delivery"), SigningCertURL=where))


POSTMARK = {"Authorization": "Basic " + base64.b64encode(b"alertd:correct horse").decode()}


def pm(record, **changes):
    return {"RecordType": record, "Metadata": {"tag": "t4g_-"}, "Email": "Ana@people.example", **changes}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (pm("Bounce", Type="HardBounce"), (FAILED, Reason.GONE, False)),
        (pm("Bounce", Type="SoftBounce"), (FAILED, Reason.UNAVAILABLE, False)),
        (pm("Bounce", Type="SpamNotification"), (FAILED, Reason.BLOCKED, False)),
        (pm("Bounce", Type="Transient"), None),
        (pm("Bounce", Type="AutoResponder"), None),
        (pm("Delivery"), (DELIVERED, Reason.NONE, False)),
        (pm("SpamComplaint", Type="SpamComplaint"), (DELIVERED, Reason.NONE, True)),
        (
            pm("SubscriptionChange", SuppressSending=True, SuppressionReason="ManualSuppression", Origin="Recipient"),
            (ACCEPTED, Reason.NONE, True),
        ),
        (pm("SubscriptionChange", SuppressSending=True, SuppressionReason="HardBounce", Origin="Recipient"), None),
        (pm("Open"), None),
        ({}, None),
    ],
)
async def test_postmark_says_what_became_of_a_mail(event, expected):
    """By the tag that it was told in a header."""
    headers = {"authorization": POSTMARK["Authorization"]}
    reports = await PostmarkHook("alertd:correct horse").parse(headers, posted(event))
    assert [(one.state, one.reason, one.left) for one in reports] == ([expected] if expected else [])
    assert {one.tags for one in reports} <= {("t4g_-",)}


@pytest.mark.parametrize("shown", [None, "", "Basic ", "Basic YWxlcnRkOng=", "Bearer correct horse", "\udcff"])
async def test_postmark_without_the_password_is_not_believed(shown):
    """Nothing is read before it."""
    with pytest.raises(NotVouchedError):
        await PostmarkHook("alertd:correct horse").parse({} if shown is None else {"authorization": shown}, b"{")


def mailgun(event, key=b"correct horse", when=str(int(NOW_S)), **changes):
    signature = hmac.new(key, (when + "token").encode(), hashlib.sha256).hexdigest()
    data = {
        "event": event,
        "recipient": "Ana@people.example",
        "message": {"headers": {"message-id": "t4g_-@a.example"}},
    }
    return {
        "signature": {"timestamp": when, "token": "token", "signature": signature},
        "event-data": {**data, **changes},
    }


async def read_mailgun(what):
    return await MailgunHook("correct horse", lambda: NOW_S).parse({}, posted(what))


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            mailgun(
                "failed",
                severity="permanent",
                reason="bounce",
                **{"delivery-status": {"code": 550, "message": "5.1.1 no such user"}},
            ),
            (FAILED, Reason.GONE, False),
        ),
        (
            mailgun(
                "failed",
                severity="permanent",
                reason="bounce",
                **{"delivery-status": {"code": 550, "enhanced-code": "5.7.1"}},
            ),
            (FAILED, Reason.BLOCKED, False),
        ),
        (mailgun("failed", severity="permanent", reason="suppress-bounce"), (FAILED, Reason.BLOCKED, False)),
        (mailgun("failed", severity="permanent", reason="old"), (FAILED, Reason.UNAVAILABLE, False)),
        (mailgun("failed", severity="temporary"), None),
        (mailgun("delivered"), (DELIVERED, Reason.NONE, False)),
        (mailgun("complained"), (DELIVERED, Reason.NONE, True)),
        (mailgun("unsubscribed"), (DELIVERED, Reason.NONE, True)),
        (mailgun("opened"), None),
    ],
)
async def test_mailgun_says_what_became_of_a_mail(event, expected):
    """By the Message-ID, which it keeps."""
    reports = await read_mailgun(event)
    assert [(one.state, one.reason, one.left) for one in reports] == ([expected] if expected else [])
    assert {one.tags for one in reports} <= {("t4g_-",)}


@pytest.mark.parametrize(
    "what",
    [
        mailgun("complained", key=b"other"),
        mailgun("complained", when=str(int(NOW_S) - 13 * 3600)),
        mailgun("complained", when=str(int(NOW_S) + 3600)),
        mailgun("complained", when="soon"),
        {**mailgun("complained"), "signature": {}},
        {**mailgun("complained"), "signature": "x"},
        {},
    ],
)
async def test_what_mailgun_did_not_sign_lately_is_not_believed(what):
    """The signature covers no body, so an old one is worth nothing."""
    with pytest.raises(NotVouchedError):
        await read_mailgun(what)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"<html>", b"\xff", b"[" * 100_000, b'"' + b"x" * LIMIT_BYTES + b'"', b"null"]
)
async def test_what_is_no_report_is_refused(body):
    """Whoever posts it."""
    headers = {"authorization": POSTMARK["Authorization"]}
    for hook in (SesHook(TOPIC, Aws().fetch), PostmarkHook("alertd:correct horse"), MailgunHook("correct horse")):
        with pytest.raises(ValueError, match="report"):
            await hook.parse(headers, body)


JSONISH = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda of: st.lists(of, max_size=3) | st.dictionaries(st.text(max_size=5), of, max_size=3), max_leaves=5)  # fmt: skip


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_no_shape_makes_them_fail(data):
    """Any value in the place of any other, vouched for."""
    event = data.draw(st.sampled_from([bounced("Permanent", "General", status="5.1.1"), pm("Bounce", Type="HardBounce"), mailgun("failed", severity="permanent")]))  # fmt: skip
    event = copy.deepcopy(event)
    inside = event
    while True:
        name = data.draw(st.sampled_from(sorted(inside)))
        if not isinstance(inside[name], dict) or not inside[name] or name == "signature" or data.draw(st.booleans()):
            break
        inside = inside[name]
    if name not in {"signature", "timestamp", "token"}:
        inside[name] = data.draw(JSONISH)
    headers = {"authorization": POSTMARK["Authorization"]}
    hooks = [(SesHook(TOPIC, Aws().fetch), sns(event)), (PostmarkHook("alertd:correct horse"), event), (MailgunHook("correct horse", lambda: NOW_S), {**mailgun(""), **event})]  # fmt: skip
    for hook, what in hooks:
        for report in await hook.parse(headers, posted(what)):
            assert isinstance(report.state, ReportState)
