"""Recognises people's answers to a message: stop, help and start, in their language and their carrier's words.

`meaning` compares the whole first non-empty line, without case, accents and punctuation. So "We saw her at the end of
the road" stops nothing, and a signature that the phone adds on a later line cannot hide a STOP.

By default the words of all languages count for every person. So the lists leave out any word that answers "Have you
seen this child?" in one of the languages: no yes, and none of "fine", "alto", "alta", "dur" and "T". Carriers of some
countries print those words; `SmppSettings.words` can add them.
"""

from __future__ import annotations

import enum
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final


class Word(enum.Enum):
    """The meaning of an answer. Values are never reused."""

    STOP = "stop"
    HELP = "help"
    START = "start"


#: By BCP 47 language. "_" joins several words. English always counts: carriers print it on every notice (CTIA Messaging
#: Principles 5.1.3).
BY_LANGUAGE: Final[Mapping[str, Mapping[Word, str]]] = {
    "en": {
        Word.STOP: "stop stopall unsubscribe cancel end quit revoke opt-out opt_out stop_all stop_it stop_it_now remove",
        Word.HELP: "help info",
        Word.START: "start unstop subscribe",
    },
    "es": {
        Word.STOP: "baja parar pare no_mas basta basta_ya cancelar detener",
        Word.HELP: "ayuda",
        Word.START: "inicio empezar",
    },
    "fr": {Word.STOP: "arret arreter desabonner desinscrire", Word.HELP: "aide", Word.START: "demarrer reprendre"},
    "pt": {Word.STOP: "sair parar cancelar remover", Word.HELP: "ajuda", Word.START: "iniciar"},
    "de": {
        Word.STOP: "stopp abmelden abbestellen ende beenden",
        Word.HELP: "hilfe",
        Word.START: "anmelden starten",
    },
    "it": {Word.STOP: "basta annulla disattiva", Word.HELP: "aiuto", Word.START: "inizia attiva"},
    "pl": {Word.STOP: "koniec rezygnuje anuluj", Word.HELP: "pomoc", Word.START: "wznow"},
    "uk": {Word.STOP: "стоп відписатися скасувати", Word.HELP: "допомога довідка", Word.START: "старт"},
    "tr": {Word.STOP: "iptal ret durdur", Word.HELP: "yardım yardim", Word.START: "başlat"},
    "ar": {Word.STOP: "توقف ايقاف إيقاف الغاء إلغاء قف", Word.HELP: "مساعدة", Word.START: "اشتراك"},
    "hi": {Word.STOP: "बंद रोकें रोको", Word.HELP: "मदद सहायता", Word.START: "शुरू चालू"},
    "zh": {Word.STOP: "退订 停止 取消 td", Word.HELP: "帮助", Word.START: "订阅 开始 恢复"},
}

#: One of these words is enough if all other words are in `BESIDE` or numbers: "STOP SMS", "please stop now", "STOP
#: 36180". Not so "bus stop", "don't stop", or "Stop Atocha", where a person saw the child.
STRONG: Final = frozenset({"stop", "stopp", "arret", "baja", "unsubscribe", "стоп"})
BESIDE: Final = frozenset(
    [
        "please",
        "pls",
        "plz",
        "bitte",
        "svp",
        "all",
        "sms",
        "alert",
        "alerts",
        "alertas",
        "alertes",
        "message",
        "messages",
        "me",
        "now",
        "ya",
    ]
)


Words = Mapping[str, Word]


def words(languages: Iterable[str], own: Mapping[str, Word] | None = None) -> Words:
    """Returns the meaning of each known answer in English and these languages, by its plain text. If a word has two
    meanings, English counts first, then the earlier language. `own`, the carrier's words, override all of them. Raises
    `KeyError` for a language without words.
    """
    found: dict[str, Word] = {}
    for language in dict.fromkeys(("en", *languages)):
        for word, spellings in BY_LANGUAGE[language].items():
            found |= {plain(spelling): word for spelling in spellings.split() if plain(spelling) not in found}
    return found | {plain(spelling): word for spelling, word in (own or {}).items()}


def meaning(text: str, known: Words) -> Word | None:
    """Returns whether an answer means stop, help or start. None for any other text, which a person has to read."""
    said = next(filter(None, map(plain, text.splitlines())), "")
    if said in known:
        return known[said]
    rest = [word for word in said.split() if word not in STRONG]
    is_strong = len(rest) < len(said.split()) and all(word in BESIDE or word.isdecimal() for word in rest)
    return Word.STOP if is_strong else None


def plain(text: str) -> str:
    """Returns the text for comparison: in lower case, without accents, hyphens and apostrophes. Other punctuation
    becomes a space, and spaces are single.
    """
    folded = unicodedata.normalize("NFKD", text.translate({0x130: "i", 0x131: "i"}).casefold())
    kept = (c if unicodedata.category(c)[0] in "LN" else _mark(c) for c in folded)
    return " ".join("".join(kept).split())


def _mark(character: str) -> str:
    """Returns the replacement for a character that is no letter or digit: "" for accents, hyphens and apostrophes, the
    character itself for vowel signs (as in Hindi), and a space for the rest.
    """
    if unicodedata.combining(character) or character in "-'’":
        return ""
    return character if unicodedata.category(character)[0] == "M" else " "
