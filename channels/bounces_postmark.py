"""Reports of Postmark."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping

from channels.base import Reason, ReportState
from channels.bounces import MailReport
from channels.bounces_hooks import NotVouchedError, failed, inner, left, posted_json, text_of

#: By "Type" of a bounce; what is not here says nothing of the end (Postmark, "Bounce API", "Bounce types").
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

#: In which Postmark is told the tag. It gives it back in "Metadata", and keeps neither return path nor Message-ID.
POSTMARK_HEADER = "X-PM-Metadata-tag"


class PostmarkHook:
    """Postmark signs nothing: it shows the user and password of the URL it was given (Postmark, "Webhooks overview")."""

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
                # the recipient's own wish; "Customer" is ours, in Postmark's pages
                wished = said.get("SuppressSending") is True and text_of(said, "Origin") == "Recipient"
                return [left(tags, ReportState.ACCEPTED)] if wished else []
            case _:
                return []
