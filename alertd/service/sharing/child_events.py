"""Decides whether the `event` of a CAP message announces a missing child. CAP leaves its words to the author."""

from __future__ import annotations

import re
from unicodedata import category, normalize

#: A child, in the words of one of the languages of alertd's texts and in Dutch. All patterns are of folded text.
_CHILD = (
    r"child(ren)?s?|kids?|bab(y|ies)|infants?|toddlers?|minors?|juveniles?|boys?|girls?|teen(ager)?s?|youths?|daughters?|sons?",
    r"nin[oa]s?|menor(es)?|bebes?|adolescentes?|chic[oa]s?",
    r"enfants?|mineure?s?|bebes?|nourrissons?|fillettes?|garcons?",
    r"kind(er|ern|es)?|babys?|sauglinge?s?|madchen|jungen?|bub(en)?|jugendliche[nrs]?|minderjahrige[nrs]?",
    r"bambin[oaie]|minor[ei]|minorenn[ei]|neonat[oaie]|ragazz[oaie]",
    r"criancas?|menin[oa]s?",
    r"dzieck\w+|dzieci\w*|dziewczynk\w+|chłopc\w+|chłopiec|nastolat\w+|niemowl\w+",
    r"cocu[kg]\w*|bebek\w*|k[iı]z(lar)?",
    r"дитин\w+|дитя\w*|діт\w+|хлопч\w+|дівчин\w+|дівчат\w+|немовля\w*",
    r"(ال)?(طفل\w*|اطفال|قاصر\w*|رضيع\w*)",
    r"kinderen|meisjes?|jongens?",
    r"\w*(儿童|兒童|孩|男童|女童|少年|少女|未成年|婴|嬰)\w*",  # Chinese writes no spaces between words
)
#: Missing or abducted, in the same languages.
_MISSING = (
    r"missing|lost|disappear\w*|abduct\w*|kidnap\w*|runaways?|snatched|stolen",
    r"desaparec\w+|desaparicion\w*|secuestr\w+|extraviad[oa]s?|rapto|raptad[oa]s?|abduccion\w*|sustraccion\w*|perdid[oa]s?|robad[oa]s?",
    r"disparue?s?|disparitions?|enlevee?s?|enlevements?|rapts?|fugues?|fugueu(rs?|ses?)",
    r"vermisst\w*|verschwunden\w*|entfuhr\w+",
    r"scompars[oaie]|rapit[oaie]|rapiment[oi]|sequestr\w+|sottrazion[ei]",
    r"desaparecimentos?",
    r"zagin\w+|porwan\w+|uprowadz\w+",
    r"kay[iı]p\w*|kaybol\w+|kac[iı]r\w+",
    r"зник\w+|викрад\w+|безвісти|розшук\w*",
    r"(ال)?(مفقود\w*|اختطاف|خطف|مخطوف\w*|اختفاء|فقدان)",
    r"vermiste?|ontvoer\w+",
    r"\w*(失踪|失蹤|走失|绑架|綁架|拐)\w*",
)
#: The same in Hindi. Folding cuts these words at their vowel signs, so they are folded like the text.
_CHILD_IN_HINDI = ["बच्चा", "बच्चे", "बच्ची", "बच्चों", "बालक", "बालिका", "नाबालिग", "लड़का", "लड़के", "लड़की"]
_MISSING_IN_HINDI = ["लापता", "गुमशुदा", "गुम", "अपहरण", "अगवा"]
#: Programmes that search for children, and compounds that say both.
_PROGRAMMES = (
    r"amber alerts?|alertas? amber|alertes? amber|child alert|child rescue alert|alerta sofia|alertes? enlevements?"
    r"|alba keneth|kind(es|s)entfuhrung\w*|kindesentziehung\w*|plan amber|amber (plan|alarms?)"
)
#: Weather services say "amber" of the middle level of a warning. So this word and the code CAE count alone, and a
#: programme named "amber" only without a word of weather.
_ALONE = {"amber", "cae"}
_WEATHER = (r"weather|heat\w*|cold|health|winds?|gales?|storms?|thunderstorms?|rain\w*|snow\w*|frost|fog|flood\w*",)


def _of_words(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"\b({'|'.join(patterns)})\b")


_CHILD_WORD, _MISSING_WORD = _of_words(_CHILD), _of_words(_MISSING)
_PROGRAMME, _WEATHER_WORD = _of_words((_PROGRAMMES,)), _of_words(_WEATHER)


def announces_child(event: str) -> bool:
    """Returns whether an event names a programme that searches for children, or a child and that it is missing or
    abducted, in any order.
    """
    text = _folded(event)
    programme = _PROGRAMME.search(text)
    return (
        (text != "" and _ALONE.issuperset(text.split()))
        or (programme is not None and not ("amber" in programme[0] and _WEATHER_WORD.search(text)))
        or (_has(text, _CHILD_WORD, _CHILD_IN_HINDI) and _has(text, _MISSING_WORD, _MISSING_IN_HINDI))
    )


def _has(text: str, words: re.Pattern[str], in_hindi: list[str]) -> bool:
    return words.search(text) is not None or any(f" {_folded(word)} " in f" {text} " for word in in_hindi)


def _folded(text: str) -> str:
    """Returns the words of a text, with one space between them and without case, accents and invisible signs. Every
    other sign that is no letter or digit separates words.
    """
    letters = (one for one in normalize("NFKD", text.casefold()) if category(one) not in {"Mn", "Cf"})
    return " ".join("".join(one if one.isalnum() else " " for one in letters).split())
