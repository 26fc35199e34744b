"""Rules for persons sought with a child: neutral descriptions, and early deletion.

The persons are not convicted, and the holder of a vehicle may be innocent. So a description must not name a deed
(Directive (EU) 2016/343, articles 3 and 4: presumed innocent, and not referred to as guilty). The persons are deleted
earlier than the case.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

from alertd.model.alert import Alert
from alertd.model.redaction import dashed, pattern_of, without

#: Beginnings of words that call a person guilty, by language. The approver must notice words that are not listed.
GUILT: dict[str, tuple[str, ...]] = {
    "en": (
        "kidnapp",
        "abduct",
        "criminal",
        "culprit",
        "offender",
        "perpetrator",
        "paedophile",
        "pedophile",
        "murderer",
        "rapist",
    ),
    "es": ("secuestrador", "raptor", "criminal", "delincuente", "culpable", "pederasta", "asesin", "violador"),
    "fr": ("kidnappeur", "ravisseu", "criminel", "délinquant", "coupable", "pédophile", "assassin", "violeur"),
    "de": ("entführer", "kidnapper", "täter", "verbrecher", "kriminell", "pädophil", "mörder", "vergewaltiger"),
    "it": ("rapitor", "sequestrator", "criminal", "delinquent", "colpevol", "pedofil", "assassin", "stuprator"),
    "pt": ("raptor", "sequestrador", "criminos", "delinquent", "culpad", "pedófil", "assassin", "violador"),
    "pl": ("porywacz", "przestępc", "sprawc", "kryminalist", "pedofil", "morderc", "gwałciciel"),
    "tr": ("kaçıran kişi", "suçlu", "katil", "sapık", "tecavüzcü"),
    "uk": ("викрадач", "злочин", "вбивц", "педофіл", "ґвалтівник"),
    "ar": ("خاطف", "مجرم", "قاتل", "مغتصب"),
    "hi": ("अपहरणकर्ता", "अपराधी", "हत्यारा", "बलात्कारी"),
    "zh": ("绑匪", "人贩子", "罪犯", "凶手", "强奸犯"),
}
#: Languages without spaces, or with prefixes. In their texts, a word of `GUILT` may begin within another word.
_ANYWHERE = ("ar", "zh")


def calls_guilty(text: str, language: str) -> bool:
    """Returns whether a text in a language (`es`, `es-MX`) contains a word of `GUILT`."""
    pattern = _guilt(language.partition("-")[0].lower())
    return pattern is not None and pattern.search(_folded(text)) is not None


def _folded(text: str) -> str:
    """Returns the text case-folded and composed (NFC).

    Treats the Turkish i with and without a dot as equal, because their capitals are often mixed up.
    """
    return unicodedata.normalize("NFC", text).casefold().replace("i\u0307", "i").replace("ı", "i")


@cache
def _guilt(language: str) -> re.Pattern[str] | None:
    """Returns the pattern of the words of `GUILT` in a language, or None if none are listed for it."""
    words = "|".join(re.escape(_folded(word)) for word in GUILT.get(language, ()))
    return re.compile(words if language in _ANYWHERE else rf"\b(?:{words})") if words else None


def has_sought(alert: Alert) -> bool:
    """Returns whether the alert names persons sought or vehicles."""
    return bool(alert.case.persons_sought or alert.case.vehicles)


def sought_in(alerts: Iterable[Alert]) -> re.Pattern[str] | None:
    """Returns a pattern that finds the names of persons sought and the plates of vehicles of these alerts, with any
    spacing in plates. Returns None if there are none.
    """
    cases = [alert.case for alert in alerts]
    return pattern_of(
        (one.name for case in cases for one in case.persons_sought if one.name),
        (one.plate for case in cases for one in case.vehicles if one.plate),
    )


def without_sought(alert: Alert, theirs: re.Pattern[str] | None) -> Alert:
    """Returns the alert without persons sought and vehicles, and with a dash for each match of `theirs` (from
    `sought_in`) in its texts. Keeps the child's name, even if a person sought has the same name.
    """
    case = alert.case.model_copy(update={"persons_sought": (), "vehicles": ()})
    changes = {
        "case": without(case, theirs),
        "info": without(alert.info, theirs),
        "event": alert.event and dashed(alert.event, theirs),
        "sender_name": alert.sender_name and dashed(alert.sender_name, theirs),
    }
    return alert.model_copy(update=changes)
