"""Sample documents as they are sent: what the outward contract shows, less what is not honoured yet."""

from __future__ import annotations

import copy
from typing import Any

from channels.base import SmsMessage
from channels.text import SmsSettings, best_coding

MISSING_CHILD: dict[str, Any] = {
    "kind": "missing-child",
    "level": "endangered",
    "status": "Actual",
    "scope": "Public",
    "expires": "2026-11-26T08:00:00+01:00",
    "external_id": "cms-88213",
    "author": {"subject": "a.garcia@centre.example", "on_behalf_of": "Policía Nacional"},
    "case": {
        "number": "SE-2026-117",
        "verification": {
            "authority": "Policía Nacional",
            "reference": "DIL-2026-4471",
            "criteria": ["minor", "high-risk", "useful-information"],
            "custody_checked": True,
            "protected_identity_checked": True,
            "publication_risk": {"by": "m.ruiz@centre.example", "at": "2026-11-24T18:20:00+01:00"},
        },
        "best_interests": {"by": "m.ruiz@centre.example", "at": "2026-11-24T18:25:00+01:00"},
        "protection": [],
        "children": [
            {
                "id": "c1",
                "name": {"public": "Lucía P.", "scripts": {"ar": "لوسيا"}},
                "age": {"years": 7},
                "sex": "female",
                "height_cm": [118, 125],
                "hair": "brown",
                "eyes": "green",
                "clothing": {"es": "abrigo rojo", "en": "red coat"},
                "marks": {},
                "photos": [],
            }
        ],
        "persons_sought": [],
        "vehicles": [],
        "last_seen": {
            "at": "2026-11-24T17:40:00+01:00",
            "time_zone": "Europe/Madrid",
            "place": {"es": "estación de Santa Justa", "en": "Santa Justa station"},
            "point": [-5.9756, 37.3919],
            "public_radius_km": 2,
        },
        "contact": [
            {"dial": "116000", "countries": ["ES"]},
            {"dial": "+34915000000", "role": "abroad"},
            {"text": "sms:+34600000000", "role": "deaf"},
            {"url": "https://centre.example/tell"},
        ],
    },
    "info": {
        "es": {"instruction": "Si la ha visto, llame al 116000.", "source": "human"},
        "en": {"instruction": "If you have seen her, call 116000.", "source": "reviewed"},
    },
    "target": {
        "regions": ["ES-SE"],
        "polygons": [],
        "circles": [{"center": [-5.9756, 37.3919], "radius_km": 30}],
        "rings": [],
        "buffer_km": 0,
        "exclude": {"regions": [], "polygons": [], "circles": []},
        "groups": [],
    },
    "channels": ["push", "sms", "mail"],
    "policy": {"places": ["now", "home", "school"], "max_age_h": 24, "mode": "all", "pace_per_min": None},
    "publish": {"page": False, "feed": False, "area": "regions"},
}

GENERAL: dict[str, Any] = {
    "kind": "general",
    "level": "warning",
    "status": "Test",
    "expires": "2026-11-25T20:00:00Z",
    "case": {},
    "info": {
        "es": {
            "headline": "Corte de agua 🚱",
            "description": "No beba agua del grifo hasta nuevo aviso.",
            "instruction": "Hierva el agua.",
        },
        "ar": {"headline": "انقطاع المياه", "description": "لا تشرب ماء الصنبور حتى إشعار آخر."},
    },
    "target": {
        "polygons": [
            {
                "type": "Polygon",
                "coordinates": [[[-6.03, 37.34], [-5.9, 37.34], [-5.9, 37.44], [-6.03, 37.44], [-6.03, 37.34]]],
            }
        ]
    },
}

SUBSCRIBER: dict[str, Any] = {
    "languages": ["es", "en"],
    "kinds": ["missing-child"],
    "time_zone": "Europe/Madrid",
    "format": "text",
    "groups": [],
    "tester": False,
    "places": {
        "home": {"point": [-5.9845, 37.3891]},
        "now": {"point": [-5.9756, 37.3919], "at": "2026-11-24T17:00:00+01:00", "accuracy_m": 50},
        "school": {"region": "41091"},
    },
    "addresses": [
        {"channel": "push", "token": "fcm:APA91bHun4MxP5egoKMwt2KZFBaFUH", "language": "es"},
        {"channel": "sms", "number": "+34 600 00 00 00"},
        {"channel": "mail", "mailbox": "Ana.Lopez@Correo.Example"},
    ],
    "consent": {
        "at": "2026-01-10T12:00:00+01:00",
        "source": "app",
        "version": "2026-1",
        "purposes": ["alerts"],
        "withdrawn_at": None,
    },
}


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of the document with one value replaced or added."""
    result = copy.deepcopy(document)
    *steps, last = path.split("/")
    node: Any = result
    for step in steps:
        node = node[int(step)] if isinstance(node, list) else node[step]
    node[int(last) if isinstance(node, list) else last] = value
    return result


def as_sent(message: SmsMessage) -> str:
    """The text of an SMS as a carrier without national tables sends it."""
    return best_coding(message.text, SmsSettings(), message.names).text
