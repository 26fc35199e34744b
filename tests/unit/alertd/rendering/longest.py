"""The longest alerts, and the texts of a message."""

from __future__ import annotations

import html
from typing import Any

from channels.base import Message, PushMessage, SmsMessage

LANGUAGES = ("en", "ar", "de", "es", "fr", "hi", "it", "pl", "pt", "tr", "uk", "zh")
CHANNELS = ("push", "webpush", "sms", "mail")


#: What a case knows and nobody outside may read, each a word found nowhere else.
SECRETS = ("SE-2026-117", "AUTHORITYX", "REFERENCEX", "CRITERIONX", "DECIDERX", "AUTHORX", "EXTERNALX",
           "LEGALX", "37.39", "5.97", "c1x")  # fmt: skip

INJECTION = "{{ 7*7 }} {% raw %} <script>alert(1)</script> {contact}"

CHILD: dict[str, Any] = {
    "id": "c1x",
    "name": {"public": "Lucía María del Carmen 🦊 Fernández-Villaverde", "scripts": {"ar": "لوسيا ماريا ديل كارمن"}},
    "age": {"years": 11},
    "sex": "female",
    "height_cm": [118, 125],
    "hair": "light-brown",
    "eyes": "green",
    "clothing": dict.fromkeys(LANGUAGES, f"red coat 🧥 {INJECTION} " * 6),
    "marks": dict.fromkeys(LANGUAGES, f"scar on the chin {INJECTION}"),
}

LONGEST_CHILD: dict[str, Any] = {
    "kind": "missing-child",
    "level": "child-alert",
    "status": "Exercise",
    "expires": "2026-11-26T08:00:00+01:00",
    "external_id": "EXTERNALX",
    "author": {"subject": "AUTHORX", "on_behalf_of": "AUTHORX"},
    "case": {
        "number": "SE-2026-117",
        "verification": {"authority": "AUTHORITYX", "reference": "REFERENCEX", "criteria": ["minor"],
                         "publication_risk": {"by": "DECIDERX", "at": "2026-11-24T18:20:00+01:00"}},
        "children": [CHILD],
        "last_seen": {
            "at": "2026-11-24T17:40:00+01:00",
            "time_zone": "America/Sao_Paulo",
            "place": {"es": "estación de autobuses de Santa Justa, junto al andén número catorce, al lado del quiosco"},
            "point": [-5.9756, 37.3919],
        },
        "contact": [{"text": "sms:+34600000000", "role": "deaf"}, {"dial": "+34915000000", "role": "abroad"},
                    {"dial": "116000", "countries": ["ES"]}, {"url": "https://centre.example/tell"}],
    },
    "info": {
        tag: {"headline": "h\n" * 80, "description": f"{INJECTION}\n\n" + "Salió a pie. " * 200, "instruction": "i " * 900}
        for tag in LANGUAGES
    },
    "target": {"regions": ["ES-SE"]},
}  # fmt: skip

LONGEST_GENERAL: dict[str, Any] = {
    "kind": "general",
    "level": "warning",
    "status": "Test",
    "expires": "2026-11-25T20:00:00Z",
    "case": {},
    "info": {
        tag: {
            "headline": f"{INJECTION}\n{'فيضان ' * 15}🌊",
            "description": "Agua sucia. " * 300,
            "instruction": "i " * 900,
        }
        for tag in LANGUAGES
    },
    "target": {"regions": ["ES-SE"]},
}

SOUGHT: dict[str, Any] = {
    "persons_sought": [{"name": {"public": f"Jan K. {INJECTION}"}, "sex": "male", "legal_basis": "LEGALX",
                        "description": dict.fromkeys(LANGUAGES, f"tall {INJECTION} " * 6)}] * 4,
    "vehicles": [{"plate": "1234 {{ 7*7 }}", "country": "ES", "legal_basis": "LEGALX",
                  "description": dict.fromkeys(LANGUAGES, f"white van {INJECTION} " * 6)}] * 4,
}  # fmt: skip


def parts(message: Message) -> list[str]:
    """Every text that leaves, HTML as a reader sees it."""
    if isinstance(message, PushMessage):
        return [message.title, message.body]
    if isinstance(message, SmsMessage):
        return [message.text]
    return [message.subject, message.text, html.unescape(message.html)]
