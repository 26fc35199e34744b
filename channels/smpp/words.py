"""What people answer to a message: stop, help and start, in their language and their carrier's.

A whole answer is compared, without case, accents and punctuation, so that "We saw her at the end of the road" stops nothing.
"""

from __future__ import annotations

import enum
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final


class Word(enum.Enum):
    """What somebody wants. Values are never reused."""

    STOP = "stop"
    HELP = "help"
    START = "start"


#: By BCP 47 language. English counts everywhere: carriers print it on every notice (CTIA Messaging Principles 5.1.3).
BY_LANGUAGE: Final[Mapping[str, Mapping[Word, str]]] = {
    "en": {
        Word.STOP: "stop stopall unsubscribe cancel end quit revoke opt-out opt_out stop_all remove",
        Word.HELP: "help info",
        Word.START: "start unstop yes subscribe",
    },
    "es": {
        Word.STOP: "baja alto parar cancelar detener",
        Word.HELP: "ayuda",
        Word.START: "alta inicio si empezar",
    },
    "fr": {Word.STOP: "arret arreter desabonner desinscrire", Word.HELP: "aide", Word.START: "demarrer oui reprendre"},
    "pt": {Word.STOP: "sair parar cancelar remover", Word.HELP: "ajuda", Word.START: "iniciar sim voltar"},
    "de": {
        Word.STOP: "stopp abmelden abbestellen ende beenden",
        Word.HELP: "hilfe",
        Word.START: "anmelden ja starten",
    },
    "it": {Word.STOP: "fine basta annulla disattiva", Word.HELP: "aiuto", Word.START: "inizia attiva si"},
    "pl": {Word.STOP: "koniec rezygnuje anuluj", Word.HELP: "pomoc", Word.START: "tak wznow"},
    "uk": {Word.STOP: "стоп відписатися скасувати", Word.HELP: "допомога довідка", Word.START: "старт так"},
    "tr": {Word.STOP: "dur iptal ret durdur", Word.HELP: "yardım yardim", Word.START: "başlat evet"},
    "ar": {Word.STOP: "توقف ايقاف إيقاف الغاء إلغاء قف", Word.HELP: "مساعدة", Word.START: "ابدا ابدأ اشتراك نعم"},
    "hi": {Word.STOP: "बंद रोकें रोको", Word.HELP: "मदद सहायता", Word.START: "शुरू चालू हाँ"},
    "zh": {Word.STOP: "退订 停止 取消 t td", Word.HELP: "帮助", Word.START: "订阅 开始 恢复"},
}

#: After one of these, one more word changes nothing: "STOP SMS", "STOP 36180".
STRONG: Final = frozenset({"stop", "stopp", "arret", "baja", "unsubscribe", "стоп"})
#: Before one of these, only such a word: "please stop", but neither "bus stop" nor "don't stop".
POLITE: Final = frozenset({"please", "pls", "plz", "bitte", "svp"})


Words = Mapping[str, Word]


def words(languages: Iterable[str], own: Mapping[str, Word] | None = None) -> Words:
    """The answers that count where these languages are spoken, the first language first where one word means two things; `own` are the carrier's, which come first.

    Raises `KeyError` for a language that has none.
    """
    found: dict[str, Word] = {}
    for language in dict.fromkeys(("en", *languages)):
        for word, spellings in BY_LANGUAGE[language].items():
            found |= {plain(spelling): word for spelling in spellings.split() if plain(spelling) not in found}
    return found | {plain(spelling): word for spelling, word in (own or {}).items()}


def meaning(text: str, known: Words) -> Word | None:
    """What an answer means, or None when it is something else, which is for people to read."""
    said = plain(text)
    if said in known:
        return known[said]
    first, _, second = said.partition(" ")
    if " " in second or not second:
        return None
    return Word.STOP if first in STRONG or (first in POLITE and second in STRONG) else None


def plain(text: str) -> str:
    """Without case, accents over Latin letters and punctuation, words one space apart."""
    folded = unicodedata.normalize("NFKD", text.translate({0x130: "i", 0x131: "i"}).casefold())
    kept = (c if unicodedata.category(c)[0] in "LN" else _mark(c) for c in folded)
    return " ".join("".join(kept).split())


def _mark(character: str) -> str:
    """Accents go without a trace, and so do the joints of one word; other punctuation parts words."""
    if unicodedata.combining(character) or character in "-'’":
        return ""
    return character if unicodedata.category(character)[0] == "M" else " "
