"""Tests own texts before they are stored: renders each of their messages for the longest and the shortest possible
alert.

Covers every level, status and occasion, so that a text that does not fit is found before an alert uses it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

from alertd.model.alert import MAX_DESCRIPTION, MAX_HEADLINE, MAX_INSTRUCTION, Alert, Status
from alertd.model.kinds import KINDS, CancelReason, Kind, Occasion
from alertd.rendering.facts import ENDED, Telling
from alertd.rendering.own_texts import OwnTexts, TextPlace
from alertd.rendering.renderer import (
    MAX_PUSH_BYTES,
    MAX_SEGMENTS_GSM,
    MAX_SEGMENTS_UCS2,
    Renderer,
    UnsafeMessageError,
    segments_over,
)
from channels.base import Loudness, Message, PushMessage, SmsMessage, Stamp
from channels.text import SmsSettings

_URL = "https://alerts.example.org/a/k3v9q2"
_AT = datetime(2026, 11, 24, 18, 5, tzinfo=UTC)
_STAMP = Stamp(chain="c", version="v", sent_s=1, expires_s=2, loudness=Loudness.LOUD, language="en")

#: A long name with a letter outside of the GSM alphabet, which is not transliterated: the whole SMS becomes UCS-2.
_LONG_NAME = "Nguyễn Thị Maximiliana " * 3
_CONTACT = {"dial": "116000", "countries": ["ES"]}

_COMMON: dict[str, Any] = {"expires": "2026-11-26T08:00:00+01:00", "target": {"regions": ["ES-SE"]}}
_BAREST_CHILD = {"number": "x", "children": [{"id": "c1"}], "contact": [_CONTACT]}

_ENDS = (
    *(Telling(occasion=occasion, alerted_at=_AT) for occasion in (Occasion.STAND_DOWN, Occasion.CLOSE)),
    *(Telling(occasion=Occasion.CANCEL, reason=reason, alerted_at=_AT) for reason in CancelReason),
)
_TELLINGS = (Telling(), Telling(occasion=Occasion.UPDATE))


def _longest_child(language: str) -> dict[str, Any]:
    """Returns a case with one child in which every fact is as long as it may be."""
    return {
        "number": "x",
        "children": [
            {
                "id": "c1", "name": {"public": _LONG_NAME.strip()}, "age": {"years": 11}, "sex": "female",
                "height_cm": [118, 125], "hair": "light-brown", "eyes": "brown", "clothing": {language: "abc " * 100},
                "marks": {language: "abc " * 100},
            }
        ],
        "persons_sought": [{"name": {"public": _LONG_NAME.strip()}, "description": {language: "abc " * 100}}],
        "vehicles": [{"plate": "1234 BCD", "country": "ES", "description": {language: "abc " * 100}}],
        "last_seen": {
            "at": "2026-11-24T17:40:00+01:00", "time_zone": "America/Sao_Paulo", "place": {language: "abc " * 100},
        },
        "contact": [_CONTACT, {"dial": "+34915000000", "role": "abroad"}],
    }  # fmt: skip


def _alerts(kind: Kind, language: str) -> Iterator[Alert]:
    """Yields the longest and the shortest alert of each level and status, as samples."""
    long = {"headline": "ễa " * (MAX_HEADLINE // 4), "description": "a " * (MAX_DESCRIPTION // 2 - 1),
            "instruction": "a " * (MAX_INSTRUCTION // 2 - 1)}  # fmt: skip
    samples = {
        Kind.MISSING_CHILD: ((_longest_child(language), long), (_BAREST_CHILD, {})),
        Kind.GENERAL: (({}, long), ({}, {"headline": "h", "description": "d"})),
    }
    for level, status, (case, text) in itertools.product(KINDS[kind], Status, samples[kind]):
        document = {**_COMMON, "kind": kind, "level": level, "status": status, "case": case, "info": {language: text}}
        yield Alert.model_validate_json(json.dumps(document))


def rehearse(renderer: Renderer, own: OwnTexts, place: TextPlace) -> list[str]:
    """Renders the messages that use the text at `place`, for sample alerts. Returns their faults as sentences, each once. `own` are all own
    texts of the organisation.
    """
    found: dict[str, None] = {}
    for alert, telling in _trials(place):
        message = partial(
            renderer.render,
            alert,
            channel=place.channel,
            language=place.language,
            stamp=_STAMP,
            url=_URL,
            telling=telling,
        )
        try:
            wrong = _too_long(message(own=own), message, renderer.sms)
        except UnsafeMessageError as error:
            wrong = str(error)
        if wrong:
            found[wrong] = None
    return list(found)


def _trials(place: TextPlace) -> Iterator[tuple[Alert, Telling]]:
    """Yields the sample alerts and occasions in which the text at this place is used."""
    ends = place.message == ENDED
    for kind in Kind if ends else (Kind(place.message),):
        yield from itertools.product(_alerts(kind, place.language), _ENDS if ends else _TELLINGS)


def _too_long(message: Message, usual: Callable[[], Message], sms: SmsSettings) -> str:
    """Returns why a message is too long, "" if it is not.

    An SMS with an own text may be as long as the one without it (`usual`), because long names and places are never dropped.
    """
    match message:
        case PushMessage() if len((message.title + message.body).encode()) > MAX_PUSH_BYTES:
            return f"Title and text of the longest alert have more than {MAX_PUSH_BYTES} bytes."
        case SmsMessage() if _over(message, sms) > 0 and _over(message, sms) > _over(usual(), sms):
            return f"The SMS of the longest alert has more than {MAX_SEGMENTS_GSM} segments, or {MAX_SEGMENTS_UCS2} in UCS-2."
    return ""


def _over(message: Message, sms: SmsSettings) -> int:
    """Returns by how many segments an SMS exceeds the maximum; 0 or less if it does not."""
    assert isinstance(message, SmsMessage)
    return segments_over(message, sms)
