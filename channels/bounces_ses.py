"""Reports of Amazon SES, through SNS."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import requests
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from channels.base import Reason, ReportState
from channels.bounces import MailReport, status_reason
from channels.bounces_hooks import (
    HookUnavailableError,
    NotVouchedError,
    failed,
    inner,
    inners,
    left,
    posted_json,
    tags_in,
    text_of,
)

Fetch = Callable[[str], Awaitable[bytes]]

#: A region as AWS writes it (docs.aws.amazon.com/general/latest/gr/sns.html); `sns.s3-us-west-2.amazonaws.com` is anybody's bucket.
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
}  # SNS signs so unless told otherwise
KEYS_KEPT = 8

#: Permanent bounces that are no word of the recipient's server, and transient ones that nobody tries again.
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
    """SES publishes to an SNS topic, which signs each message (SNS developer guide, "Verifying the signatures")."""

    def __init__(self, topic: str, fetch: Fetch | None = None) -> None:
        """`topic`: the ARN; everybody's topics have good signatures, so it is the one that counts."""
        self._topic = topic
        self._fetch = fetch or fetch_small
        self._keys: dict[str, RSAPublicKey] = {}
        self._fetching = asyncio.Lock()

    async def parse(self, headers: Mapping[str, str], body: bytes) -> list[MailReport]:  # noqa: ARG002 all is in the body
        posted = posted_json(body)
        await self._check(posted)
        if posted["Type"] == "SubscriptionConfirmation":
            await self._confirm(text_of(posted, "SubscribeURL"))
            return []
        return _ses(posted_json(text_of(posted, "Message").encode()))

    async def _check(self, posted: dict[str, Any]) -> None:
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
        """The key of a certificate of SNS. What is none is not kept: the next answer may be better."""
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
        if not _CONFIRM.fullmatch(where):
            raise NotVouchedError
        await self._fetch(where)


def _ses(said: dict[str, Any]) -> list[MailReport]:
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
    reason = SES_BOUNCES.get(kind)
    if reason is None and kind[0] != "Permanent":
        return None  # an automatic reply, or nobody knows
    reason = reason or status_reason(text_of(one, "status"), text_of(one, "diagnosticCode"))
    return failed(tags, reason, text_of(one, "emailAddress"))


async def fetch_small(url: str) -> bytes:
    """A small document over TLS; no redirects. Raises `HookUnavailableError`."""
    return await asyncio.to_thread(_fetched, url)


def _fetched(url: str) -> bytes:
    try:
        with requests.get(url, timeout=5, allow_redirects=False, stream=True) as response:
            if response.status_code != 200:
                raise HookUnavailableError
            return response.raw.read(65_536)  # type: ignore[no-any-return]
    except (requests.RequestException, OSError):
        raise HookUnavailableError from None
