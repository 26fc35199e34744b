"""What FCM's answers mean, as one table.

From firebase.google.com/docs/cloud-messaging/error-codes and .../scale-fcm. Only 404 with UNREGISTERED says that a token is dead.
"""

from __future__ import annotations

from typing import Any

import msgspec
from firebase_admin import messaging

from channels.base import Answer, Outcome, Reason, Subject
from channels.http_answers import COMMON, refusal
from channels.posting import Reply, json_object

BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"

# The fields of a message that hold its recipient.
TARGETS = ("message.token", "message.fid")

# By what firebase-admin makes of the FcmError in the answer, with the status it must come with.
BY_FCM_ERROR: dict[tuple[int, type[Exception]], tuple[Answer, Reason]] = {
    (404, messaging.UnregisteredError): (Answer.NEVER, Reason.GONE),
    # Another project's token: it may be ours that is wrong.
    (403, messaging.SenderIdMismatchError): (Answer.NEVER, Reason.BAD_ADDRESS),
    (401, messaging.ThirdPartyAuthError): (Answer.RETRY, Reason.CREDENTIALS),  # the APNs key in FCM's console is wrong
}

# By HTTP status, when the FcmError says nothing more.
BY_STATUS = {**COMMON, 403: (Answer.RETRY, Reason.CREDENTIALS)}

# Statuses below 500 that may speak of the project. A 429 may be the project's quota or one device's.
MAYBE_OF_THE_PROJECT = frozenset({401, 403, 404, 429})


class _Taken(msgspec.Struct):
    name: str


_taken = msgspec.json.Decoder(_Taken)  # once a message: json takes five times as long

# A 200 that is not FCM's: somebody between us and FCM answered, before or after FCM took the message. It may have arrived.
NOT_FCM = Outcome(Answer.UNKNOWN, Reason.GARBAGE)


def outcome(reply: Reply) -> Outcome:
    """Read one answer. Never raises, whatever the body holds."""
    if reply.status == 200:
        return _accepted(reply.body)
    error = _error(reply.body)
    answer, reason = _refused(reply.status, error)
    refused = refusal(reply, answer, reason)
    is_of_one = bool(error) and 400 <= reply.status < 500 and reply.status not in MAYBE_OF_THE_PROJECT
    return refused._replace(of=Subject.RECIPIENT) if is_of_one and answer is Answer.RETRY else refused


def token_refused(reply: Reply) -> bool:
    """Whether our access token was refused, and not the project's key for APNs, which another token would not help."""
    return reply.status == 401 and _fcm_error(_error(reply.body)) is not messaging.ThirdPartyAuthError


def _accepted(body: bytes) -> Outcome:
    """FCM answers {"name": "projects/P/messages/ID"}."""
    try:
        return Outcome(Answer.ACCEPTED, message_id=_taken.decode(body).name)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # a text that is no UTF-8 is no DecodeError
        return NOT_FCM


def _refused(status: int, error: dict[str, Any]) -> tuple[Answer, Reason]:
    kind = _fcm_error(error)
    if kind is not None and (status, kind) in BY_FCM_ERROR:
        return BY_FCM_ERROR[status, kind]
    if status == 400 and error and not _is_unspecified(error):
        return Answer.NEVER, _fault(error)
    return BY_STATUS.get(status, (Answer.UNKNOWN if status > 500 else Answer.RETRY, Reason.GARBAGE))


def _fcm_error(error: dict[str, Any]) -> type[Exception] | None:
    if not all(isinstance(detail.get("errorCode", ""), str) for detail in error.get("details", ())):
        return None
    kind: type[Exception] | None = messaging._MessagingService._build_fcm_error(error)  # noqa: SLF001 held by a test
    return kind


def _fault(error: dict[str, Any]) -> Reason:
    """Whose fault a 400 is. BadRequest names the field; without it, INVALID_ARGUMENT is how FCM calls a malformed token."""
    requests = [detail for detail in error["details"] if detail.get("@type") == BAD_REQUEST]
    if not requests:
        return Reason.BAD_ADDRESS if error["details"] else Reason.BAD_MESSAGE
    violations = requests[0].get("fieldViolations")
    listed = violations if isinstance(violations, list) else []
    fields = [violation.get("field") for violation in listed if isinstance(violation, dict)]
    return Reason.BAD_ADDRESS if any(field in TARGETS for field in fields) else Reason.BAD_MESSAGE


def _is_unspecified(error: dict[str, Any]) -> bool:
    """FCM does not say what was wrong: nobody's message is given up for that."""
    return any(detail.get("errorCode") == "UNSPECIFIED_ERROR" for detail in error["details"])


def _error(body: bytes) -> dict[str, Any]:
    """The error object with its `details` made a list of objects; empty when the answer is not of this protocol."""
    error = json_object(body).get("error")
    if not isinstance(error, dict):
        return {}
    details = error.get("details")
    listed = details if isinstance(details, list) else []
    return {**error, "details": [detail for detail in listed if isinstance(detail, dict)]}
