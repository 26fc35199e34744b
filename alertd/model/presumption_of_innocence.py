"""Who is sought with a child is told as somebody to be found, and forgotten soon after: nobody has convicted them, and a holder of a vehicle may be anybody.

What is told of them names no deed (Directive (EU) 2016/343, articles 3 and 4: presumed innocent, and not referred to as guilty), and is gone
before the case is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

from alertd.model.alert import Alert
from alertd.model.redaction import dashed, pattern_of, without

#: Words that call somebody guilty, by language, as they begin: what is not here is for the second person to see.
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
#: Written without spaces, or with what is put before a word: there a word may begin anywhere.
_ANYWHERE = ("ar", "zh")


def calls_guilty(text: str, language: str) -> bool:
    """Whether a text in a language (`es`, `es-MX`) has a word of `GUILT` in it."""
    pattern = _guilt(language.partition("-")[0].lower())
    return pattern is not None and pattern.search(_folded(text)) is not None


def _folded(text: str) -> str:
    """The text in small letters, each in one piece with its accent; of Turkish the i with a dot and that without are one, as their capitals are
    mixed up.
    """
    return unicodedata.normalize("NFC", text).casefold().replace("i\u0307", "i").replace("ı", "i")


@cache
def _guilt(language: str) -> re.Pattern[str] | None:
    words = "|".join(re.escape(_folded(word)) for word in GUILT.get(language, ()))
    return re.compile(words if language in _ANYWHERE else rf"\b(?:{words})") if words else None


def has_sought(alert: Alert) -> bool:
    """Whether it tells of persons sought or of vehicles."""
    return bool(alert.case.persons_sought or alert.case.vehicles)


def sought_in(alerts: Iterable[Alert]) -> re.Pattern[str] | None:
    """The names and plates of all whom, and what, any of these sought; None where there is none. A number plate is found however it is spaced."""
    cases = [alert.case for alert in alerts]
    return pattern_of(
        (one.name for case in cases for one in case.persons_sought if one.name),
        (one.plate for case in cases for one in case.vehicles if one.plate),
    )


def without_sought(alert: Alert, theirs: re.Pattern[str] | None) -> Alert:
    """The alert without them; where its own words have a name or a plate of `theirs`, with a dash there. A child keeps its name, whoever has the
    same.
    """
    case = alert.case.model_copy(update={"persons_sought": (), "vehicles": ()})
    told = {
        "case": without(case, theirs),
        "info": without(alert.info, theirs),
        "event": alert.event and dashed(alert.event, theirs),
        "sender_name": alert.sender_name and dashed(alert.sender_name, theirs),
    }
    return alert.model_copy(update=told)
