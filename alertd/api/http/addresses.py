"""One address as somebody writes it, without the subscriber that it belongs to."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from alertd.common.errors import Fault, Problem
from alertd.model.faults import faults_of
from alertd.model.fields import Mailbox, PhoneNumber
from alertd.model.registration import Endpoint, Token

_FORMS: dict[str, TypeAdapter[str]] = {
    "push": TypeAdapter(Token),
    "webpush": TypeAdapter(Endpoint),
    "sms": TypeAdapter(PhoneNumber),
    "mail": TypeAdapter(Mailbox),
}


def as_kept(channel: str, text: str, pointer: str) -> str:
    """An address of a channel as it is kept; of a browser its endpoint, by which it is known. Raises Problem, which points there."""
    try:
        return _FORMS[channel].validate_python(text)
    except ValidationError as error:
        faults = tuple(Fault(pointer, fault.detail) for fault in faults_of(error))
        raise Problem("invalid-request", "This is no address.", faults=faults) from None
