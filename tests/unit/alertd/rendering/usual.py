"""Usual, smallest and several-person alerts, and their messages."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alertd.model.alert import Alert
from alertd.rendering import Renderer, Telling
from alertd.rendering.plaintext import FSI, PDI
from channels.base import Loudness, Message, Stamp
from tests.unit.alertd.rendering.longest import CHILD, LANGUAGES, LONGEST_CHILD, LONGEST_GENERAL, SOUGHT
from tests.unit.alertd.samples import MISSING_CHILD
from tests.unit.alertd.samples import changed as document_with

ROOT = Path(__file__).parents[4]
CHANNELS = ("push", "webpush", "sms", "mail")
STATUSES = ("Actual", "Exercise", "Test")
URL = "https://alerts.example.org/a/k3v9q2"

#: As it comes in: a name that GSM spells, and a place and clothing in every language.
USUAL = document_with(MISSING_CHILD, "case/children/0/name", {"public": "Inés P."})
USUAL["case"]["children"][0]["clothing"] = dict.fromkeys(LANGUAGES, "Anorak")
USUAL["case"]["last_seen"]["place"] = {"es": "Santa Justa"}
USUAL["info"] = {}

#: As little as an alert may say.
SMALLEST_CHILD = document_with(MISSING_CHILD, "case/children", [{"id": "c1", "sex": "male", "age": {"months": 7}}])
SMALLEST_CHILD["case"] = {
    name: SMALLEST_CHILD["case"][name] for name in ("number", "verification", "children", "contact")
}
SMALLEST_CHILD["info"] = {}
SMALLEST_GENERAL = {**LONGEST_GENERAL, "info": {tag: {"headline": "h", "description": "d"} for tag in LANGUAGES}}
SEVERAL = {
    **LONGEST_CHILD,
    "case": {**LONGEST_CHILD["case"], "children": [{**CHILD, "id": f"c{n}", "age": {"years": n}} for n in range(9)]},
}
LONGEST = {**LONGEST_CHILD, "case": {**LONGEST_CHILD["case"], **SOUGHT}}
SAMPLES = {
    "missing-child": {"longest": LONGEST, "smallest": SMALLEST_CHILD, "several": SEVERAL, "usual": USUAL},
    "general": {"longest": LONGEST_GENERAL, "smallest": SMALLEST_GENERAL},
}

SAFETY = {
    "en": "Do not approach. If you see them, call 116000.",
    "ar": "لا تقترب. إذا رأيت هذا الطفل فاتصل بالرقم 116000.",
    "de": "Nähern Sie sich nicht. Wenn Sie dieses Kind sehen, rufen Sie 116000 an.",
    "es": "No se acerque. Si ve a esta persona, llame al 116000.",
    "fr": "N’approchez pas. Si vous voyez cet enfant, appelez le 116000.",
    "hi": "पास न जाएँ। इस बच्चे को देखें तो 116000 पर फ़ोन करें।",
    "it": "Non si avvicini. Se vede questo minore, chiami il 116000.",
    "pl": "Prosimy nie podchodzić. Jeśli widzą Państwo to dziecko, prosimy dzwonić pod numer 116000.",
    "pt": "Não se aproxime. Se vir esta criança, ligue para 116000.",
    "tr": "Yaklaşmayın. Bu çocuğu görürseniz 116000 numarasını arayın.",
    "uk": "Не наближайтеся. Якщо бачите цю дитину, телефонуйте: 116000.",
    "zh": "请勿靠近。如看到这名儿童，请致电 116000。",
}


def alert_of(document: dict[str, Any], **top: Any) -> Alert:
    return Alert.model_validate_json(json.dumps({**document, **top}))


#: Rendering takes most of the time of these tests, and many rules are checked on the same messages.
_RENDERED: dict[tuple[Any, ...], Message] = {}


def render(
    renderer: Renderer,
    alert: Alert,
    channel: str,
    language: str,
    loudness: Loudness = Loudness.LOUD,
    telling: Telling | None = None,
) -> Any:
    """The message of an alert, rendered once in this process for all rules that it is checked against."""
    key = (renderer, alert.model_dump_json(), channel, language, loudness, telling)
    if key not in _RENDERED:
        stamp = Stamp(chain="c", version="v", sent_s=1, expires_s=2, loudness=loudness, language=language)
        more = {"telling": telling} if telling else {}
        _RENDERED[key] = renderer.render(alert, channel=channel, language=language, stamp=stamp, url=URL, **more)
    return _RENDERED[key]


def bare(text: str) -> str:
    return text.replace(FSI, "").replace(PDI, "")


AT = datetime(2026, 11, 24, 18, 5, tzinfo=UTC)
