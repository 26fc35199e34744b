"""Reports of Mailgun."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from typing import Any

from channels.base import Reason, ReportState
from channels.bounces import MailReport, status_reason
from channels.bounces_hooks import NotVouchedError, failed, inner, left, posted_json, tags_in, text_of

#: Its retries of a webhook go on for eight hours. The signature covers no body, so an old one must not last.
MAILGUN_FRESH_S = 12 * 3600
MAILGUN_AHEAD_S = 600


class MailgunHook:
    """Mailgun signs a time and a token with the account's webhook key (Mailgun, "Securing webhooks")."""

    def __init__(self, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._key = secret.encode()
        self._clock = clock

    async def parse(self, headers: Mapping[str, str], body: bytes) -> list[MailReport]:  # noqa: ARG002 all is in the body
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
        when, token = text_of(signature, "timestamp"), text_of(signature, "token")
        expected = hmac.new(self._key, (when + token).encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(text_of(signature, "signature").encode(), expected.encode()):
            raise NotVouchedError
        age_s = self._clock() - int(when) if when.isascii() and when.isdigit() else MAILGUN_FRESH_S + 1
        if not -MAILGUN_AHEAD_S <= age_s <= MAILGUN_FRESH_S:
            raise NotVouchedError


def _mailgun_reason(said: dict[str, Any]) -> Reason:
    why, status = text_of(said, "reason"), inner(said, "delivery-status")
    if why.startswith("suppress-"):
        return Reason.BLOCKED  # Mailgun's own list: not a word of the recipient's server
    if why == "old":
        return Reason.UNAVAILABLE
    return status_reason(
        text_of(status, "enhanced-code"), f"{text_of(status, 'message')} {text_of(status, 'description')}"
    )
