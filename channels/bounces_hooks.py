"""Reads the reports about mails that relays post to alertd by webhook: SES, Postmark and Mailgun.

Each hook first checks the proof that the relay sent the post. A report then only counts with one of alertd's tags.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import requests
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from channels.base import Reason, ReportState
from channels.bounces import VERP, MailReport, status_reason

#: Maximum bytes of a post. SNS sends no larger body; the others send far less.
LIMIT_BYTES = 262_144


class NotVouchedError(Exception):
    """The proof that the relay sent the post is missing or wrong."""


class HookUnavailableError(Exception):
    """The proof cannot be checked now. The relay should post again."""


class Hook(Protocol):
    """Reads the reports that one relay posts, in its own form."""

    async def parse(self, headers: Mapping[str, str], body: bytes) -> list[MailReport]:
        """Returns the failures, deliveries and opt-outs in a post, or an empty list for any other event. `headers` has
        lower-case names.

        Raises `NotVouchedError`, `HookUnavailableError`, and `ValueError` if the post cannot be read.
        """
        ...


@runtime_checkable
class Hooked(Protocol):
    """A channel with a relay that may post reports."""

    hook: Hook | None


def failed(tags: tuple[str, ...], reason: Reason, mailbox: str = "") -> MailReport:
    """Returns the report of a failed mail. `mailbox` is the recipient that the relay names."""
    named = frozenset({mailbox.lower()}) if mailbox else frozenset()
    return MailReport(tags=tags, state=ReportState.FAILED, reason=reason, mailboxes=named)


def left(tags: tuple[str, ...], state: ReportState = ReportState.DELIVERED) -> MailReport:
    """Returns the report that a recipient opted out. `state`: the state of the mail."""
    return MailReport(tags=tags, state=state, left=True)


def tags_in(return_path: str, message_id: str) -> tuple[str, ...]:
    """Returns the tags in a return path and a Message-ID, at most one of each. They may be missing or forged."""
    ids = re.match(r"<?([A-Za-z0-9_-]{1,80})@", message_id)
    return tuple(dict.fromkeys([*VERP.findall(return_path)[:1], *([ids[1]] if ids else [])]))


def posted_json(body: bytes) -> dict[str, Any]:
    """Returns the posted JSON object. Raises `ValueError` if the body is too long or is not a JSON object."""
    if len(body) > LIMIT_BYTES:
        raise ValueError("This is longer than any report.")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("This is not a report in JSON.") from None
    if not isinstance(found, dict):
        raise ValueError("This is not a report in JSON.")  # noqa: TRY004 the posted text is at fault
    return found


def inner(of: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns a member that is an object, or an empty object."""
    found = of.get(name)
    return found if isinstance(found, dict) else {}


def inners(of: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Returns the objects in a member that is a list, at most 100."""
    found = of.get(name)
    return [one for one in found[:100] if isinstance(one, dict)] if isinstance(found, list) else []


def text_of(of: dict[str, Any], name: str) -> str:
    """Returns a member that is a text, or an empty text."""
    found = of.get(name)
    return found if isinstance(found, str) else ""


#: Maximum age of a Mailgun signature in seconds. Mailgun retries a webhook for eight hours. The signature does not cover
#: the body, so an old one must expire.
MAILGUN_FRESH_S = 12 * 3600
#: By how many seconds the time of a signature may be ahead of this machine's clock.
MAILGUN_AHEAD_S = 600


class MailgunHook:
    """Reads Mailgun's posts. Mailgun signs a time and a token with the account's webhook key (Mailgun, "Securing
    webhooks").
    """

    def __init__(self, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._key = secret.encode()
        self._clock = clock

    async def parse(self, headers: Mapping[str, str], body: bytes) -> list[MailReport]:  # noqa: ARG002 the proof is in the body
        posted = posted_json(body)
        self._check(inner(posted, "signature"))
        said = inner(posted, "event-data")
        tags = tags_in("", text_of(inner(inner(said, "message"), "headers"), "message-id"))
        match text_of(said, "event"), text_of(said, "severity"):
            case ("failed", "permanent"):
                return [failed(tags, _mailgun_reason(said), text_of(said, "recipient"))]
            case ("delivered", _):
                return [MailReport(tags=tags, state=ReportState.DELIVERED)]
            case ("complained" | "unsubscribed", _):
                return [left(tags)]
            case _:
                return []

    def _check(self, signature: dict[str, Any]) -> None:
        """Raises `NotVouchedError` if the signature is wrong, or its time too old or too far ahead."""
        when, token = text_of(signature, "timestamp"), text_of(signature, "token")
        expected = hmac.new(self._key, (when + token).encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(text_of(signature, "signature").encode(), expected.encode()):
            raise NotVouchedError
        age_s = self._clock() - int(when) if when.isascii() and when.isdigit() else MAILGUN_FRESH_S + 1
        if not -MAILGUN_AHEAD_S <= age_s <= MAILGUN_FRESH_S:
            raise NotVouchedError


def _mailgun_reason(said: dict[str, Any]) -> Reason:
    """Returns why a mail failed for good: by Mailgun's own reason, else by the code of the recipient's server."""
    why, status = text_of(said, "reason"), inner(said, "delivery-status")
    if why.startswith("suppress-"):
        return Reason.BLOCKED  # Mailgun's own list: not an answer of the recipient's server
    if why == "old":
        return Reason.UNAVAILABLE
    return status_reason(
        text_of(status, "enhanced-code"), f"{text_of(status, 'message')} {text_of(status, 'description')}"
    )


#: Reason of a failed mail by Postmark's "Type" of the bounce. Other types are not final, and yield no failure
#: (Postmark, "Bounce API", "Bounce types").
POSTMARK_BOUNCES = {
    "HardBounce": Reason.GONE,
    "BadEmailAddress": Reason.BAD_ADDRESS,
    "SoftBounce": Reason.UNAVAILABLE,
    "DnsError": Reason.UNAVAILABLE,
    "SMTPApiError": Reason.UNAVAILABLE,
    "Unknown": Reason.UNAVAILABLE,
    "SpamNotification": Reason.BLOCKED,
    "Blocked": Reason.BLOCKED,
    "ManuallyDeactivated": Reason.BLOCKED,
    "DMARCPolicy": Reason.CREDENTIALS,
    "VirusNotification": Reason.BAD_MESSAGE,
}

#: The header of a mail that gives Postmark the tag. Postmark returns the tag in "Metadata", and keeps neither return
#: path nor Message-ID.
POSTMARK_HEADER = "X-PM-Metadata-tag"


class PostmarkHook:
    """Reads Postmark's posts. Postmark signs nothing, and sends the user and password of the configured URL (Postmark,
    "Webhooks overview").
    """

    def __init__(self, secret: str) -> None:
        """`secret`: user:password."""
        self._expected = b"Basic " + base64.b64encode(secret.encode())

    async def parse(self, headers: Mapping[str, str], body: bytes) -> list[MailReport]:
        if not hmac.compare_digest(headers.get("authorization", "").encode("utf-8", "replace"), self._expected):
            raise NotVouchedError
        said = posted_json(body)
        tag = text_of(inner(said, "Metadata"), "tag")
        tags = (tag,) if tag else ()
        match text_of(said, "RecordType"), text_of(said, "Type"):
            case ("Bounce", kind) if kind in POSTMARK_BOUNCES:
                return [failed(tags, POSTMARK_BOUNCES[kind], text_of(said, "Email"))]
            case ("SpamComplaint", _) | ("Bounce", "SpamComplaint" | "Unsubscribe"):
                return [left(tags)]
            case ("Delivery", _):
                return [MailReport(tags=tags, state=ReportState.DELIVERED)]
            case ("SubscriptionChange", _) if text_of(said, "SuppressionReason") == "ManualSuppression":
                # Only the recipient's own opt-out counts. In Postmark's pages, "Customer" means the account.
                wished = said.get("SuppressSending") is True and text_of(said, "Origin") == "Recipient"
                return [left(tags, ReportState.ACCEPTED)] if wished else []
            case _:
                return []


Fetch = Callable[[str], Awaitable[bytes]]

#: The start of an SNS URL, with a region in AWS's form (docs.aws.amazon.com/general/latest/gr/sns.html).
#: `sns.s3-us-west-2.amazonaws.com` could be any customer's bucket.
_SNS = r"https://sns\.[a-z]{2}(-[a-z]{2,20}){1,3}-[0-9]{1,2}\.amazonaws\.com(\.cn)?"
_CERTIFICATE = re.compile(_SNS + r"/SimpleNotificationService-[A-Za-z0-9]{1,64}\.pem")
_CONFIRM = re.compile(_SNS + r"/\?Action=ConfirmSubscription&[!-~]{1,2000}")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_SNS_HASHES: Mapping[str, Callable[[], hashes.HashAlgorithm]] = {
    "1": hashes.SHA1,
    "2": hashes.SHA256,
}  # SNS uses SHA-1 by default
KEYS_KEPT = 8  # maximum number of cached keys

#: Reason of a failed mail by SES's bounceType and bounceSubType. Lists permanent bounces that the recipient's server
#: did not send, and transient ones that SES does not retry.
SES_BOUNCES = {
    ("Permanent", "NoEmail"): Reason.GONE,
    ("Permanent", "Suppressed"): Reason.BLOCKED,
    ("Permanent", "OnAccountSuppressionList"): Reason.BLOCKED,
    ("Transient", "MailboxFull"): Reason.UNAVAILABLE,
    ("Transient", "MessageTooLarge"): Reason.BAD_MESSAGE,
    ("Transient", "ContentRejected"): Reason.BAD_MESSAGE,
    ("Transient", "AttachmentRejected"): Reason.BAD_MESSAGE,
}


class SesHook:
    """Reads the posts of SES. SES publishes to an SNS topic, which signs each message (SNS developer guide, "Verifying
    the signatures"). Confirms the subscription to the topic when SNS asks.
    """

    def __init__(self, topic: str, fetch: Fetch | None = None) -> None:
        """`topic`: the ARN. Any AWS customer's topic has valid signatures, so the ARN must match."""
        self._topic = topic
        self._fetch = fetch or fetch_small
        self._keys: dict[str, RSAPublicKey] = {}
        self._fetching = asyncio.Lock()

    async def parse(self, headers: Mapping[str, str], body: bytes) -> list[MailReport]:  # noqa: ARG002 the proof is in the body
        posted = posted_json(body)
        await self._check(posted)
        if posted["Type"] == "SubscriptionConfirmation":
            await self._confirm(text_of(posted, "SubscribeURL"))
            return []
        return _ses(posted_json(text_of(posted, "Message").encode()))

    async def _check(self, posted: dict[str, Any]) -> None:
        """Raises `NotVouchedError` unless the configured topic signed the post with a key of SNS."""
        names = _SIGNED.get(text_of(posted, "Type"))
        algorithm = _SNS_HASHES.get(text_of(posted, "SignatureVersion"))
        where = text_of(posted, "SigningCertURL")
        if names is None or algorithm is None or text_of(posted, "TopicArn") != self._topic:
            raise NotVouchedError
        if not _CERTIFICATE.fullmatch(where):
            raise NotVouchedError
        signed = "".join(f"{name}\n{text_of(posted, name)}\n" for name in names if isinstance(posted.get(name), str))
        try:
            signature = base64.b64decode(text_of(posted, "Signature"), validate=True)
            key = await self._key(where)
            key.verify(signature, signed.encode(), PKCS1v15(), algorithm())
        except (InvalidSignature, ValueError, binascii.Error):
            raise NotVouchedError from None

    async def _key(self, where: str) -> RSAPublicKey:
        """Returns the public key of the certificate at the URL `where`, from the cache or fetched. Does not cache an
        invalid document, because the next answer may be valid.
        """
        async with self._fetching:
            if where not in self._keys:
                key = x509.load_pem_x509_certificate(await self._fetch(where)).public_key()
                if not isinstance(key, RSAPublicKey):
                    raise NotVouchedError
                if len(self._keys) >= KEYS_KEPT:
                    self._keys.clear()
                self._keys[where] = key
            return self._keys[where]

    async def _confirm(self, where: str) -> None:
        """Confirms alertd's subscription to the topic by a request to the URL `where`, which must belong to SNS."""
        if not _CONFIRM.fullmatch(where):
            raise NotVouchedError
        await self._fetch(where)


def _ses(said: dict[str, Any]) -> list[MailReport]:
    """Returns the reports in an SES notification or event."""
    mail = inner(said, "mail")
    headers = {text_of(one, "name").lower(): text_of(one, "value") for one in inners(mail, "headers")}
    tags = tags_in(text_of(mail, "source"), headers.get("message-id", ""))
    match text_of(said, "notificationType") or text_of(said, "eventType"):
        case "Bounce":
            return [one for one in _ses_bounces(inner(said, "bounce"), tags) if one is not None]
        case "Complaint":
            complaint = inner(said, "complaint")
            if text_of(complaint, "complaintSubType") == "OnAccountSuppressionList":
                return [failed(tags, Reason.BLOCKED)]
            return [] if text_of(complaint, "complaintFeedbackType") == "not-spam" else [left(tags)]
        case "Delivery":
            return [MailReport(tags=tags, state=ReportState.DELIVERED)]
        case "Reject":
            return [failed(tags, Reason.BAD_MESSAGE)]
        case _:
            return []


def _ses_bounces(bounce: dict[str, Any], tags: tuple[str, ...]) -> list[MailReport | None]:
    kind = (text_of(bounce, "bounceType"), text_of(bounce, "bounceSubType"))
    return [_ses_bounce(kind, one, tags) for one in inners(bounce, "bouncedRecipients")]


def _ses_bounce(kind: tuple[str, str], one: dict[str, Any], tags: tuple[str, ...]) -> MailReport | None:
    """Returns the failure of one recipient, or None for a transient bounce that is not final."""
    reason = SES_BOUNCES.get(kind)
    if reason is None and kind[0] != "Permanent":
        return None  # an automatic reply, or undetermined
    reason = reason or status_reason(text_of(one, "status"), text_of(one, "diagnosticCode"))
    return failed(tags, reason, text_of(one, "emailAddress"))


async def fetch_small(url: str) -> bytes:
    """Fetches a URL without redirects and returns at most 65,536 bytes of the document. Raises `HookUnavailableError`
    if the fetch fails or the status is not 200.
    """
    return await asyncio.to_thread(_fetched, url)


def _fetched(url: str) -> bytes:
    try:
        with requests.get(url, timeout=5, allow_redirects=False, stream=True) as response:
            if response.status_code != 200:
                raise HookUnavailableError
            return response.raw.read(65_536)  # type: ignore[no-any-return]
    except (requests.RequestException, OSError):
        raise HookUnavailableError from None
