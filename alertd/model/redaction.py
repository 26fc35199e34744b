"""Names of people in texts: found as whole words, whatever their accents and capitals, and taken out with a dash in their place.

Then what is left of a missing-child alert when the child may no longer be known by it: "girl, 13", where and when, and whom to call.
A restriction takes out everything but what is named here, so that a field that is added later goes, too. The words of the place stay
without the child's name: nobody can look for the child without them. What is internal stays with the case, for those who work on it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError

from alertd.model.alert import Alert, Info
from alertd.model.case import Case, Child, Name, bare_plate
from geofences.names import PLAIN_LETTERS

#: The fields of a case, and of what its sender says of it, that are texts for people. In any other a program reads what stands there.
TEXTS = frozenset({"headline", "description", "instruction", "clothing", "marks", "alt", "place"})

#: Shorter words of a name are in too many others: initials, "de", "al".
LEAST_LETTERS = 3

#: Scripts without spaces, or (Korean) with what is put after a word: a word may begin and end anywhere in them.
_RUNNING = "\u0e00-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\ua4cf\uac00-\ud7ff\U00020000-\U0003ffff"
#: Those with what is put before a word (Hebrew, Arabic).
_PREFIXED = "\u0590-\u08ff"
#: Vowel signs of the scripts of India, which Python takes for no letters.
_SIGNS = "\u0900-\u0963\u0966-\u0dff"
#: A letter or digit that a whole word has none beside.
_LETTER = f"(?:[^\\W_{_RUNNING}]|[{_SIGNS}])"
_WORDS = re.compile(f"(?:[^\\W_]|[{_SIGNS}])+")
_BEGINS_ANYWHERE, _ENDS_ANYWHERE = re.compile(f"[{_RUNNING}{_PREFIXED}]"), re.compile(f"[{_RUNNING}]")
#: In the middle of a word nobody sees them: the hyphen where a line may break, and joiners.
_UNSEEN = "\u00ad\u200b\u200c\u200d\u2060"


#: What a whole word has not before it, a pattern, and what it has not after it; the pattern is empty where there is no word.
_Found = tuple[str, str, str]


def pattern_of(names: Iterable[Name], plates: Iterable[str] = ()) -> re.Pattern[str] | None:
    """What finds people by their whole names, in any script they are written in, and vehicles by their plates, however spaced; None
    where there is nothing to be found.
    """
    spoken = (_spoken(text) for name in names for text in _written(name))
    return _any_of([*spoken, *(_bounded(_compared(bare_plate(plate)), r"[\W_]*") for plate in plates)])


def pattern_of_words(names: Iterable[Name]) -> re.Pattern[str] | None:
    """The same by any word of their names: a first name and a street may be all that a neighbour needs. Not by what joins them, as in
    María del Mar.
    """
    texts = [text for name in names for text in _written(name)]
    return _any_of(map(_spoken, (*texts, *(word for text in texts for word in _telling_words(text)))))


def words_of(names: Iterable[Name]) -> frozenset[str]:
    """Those words, as `words_in` has them."""
    return frozenset(_compared(word) for name in names for text in _written(name) for word in _telling_words(text))


def words_in(text: str) -> frozenset[str]:
    """The words of a text as they are compared."""
    return frozenset(_WORDS.findall(_compared(text)))


def names_any(text: str, names: re.Pattern[str] | None) -> bool:
    """Whether one of them is named in a text."""
    return names is not None and names.search(_compared(text)) is not None


def dashed(text: str, names: re.Pattern[str] | None) -> str:
    """A text with a dash for each of them."""
    if names is None:
        return text
    plain, places = _plain(text)
    pieces, last = [], 0
    for hit in names.finditer(plain):
        start, end = hit.span()
        if places[start] >= last:
            pieces += [text[last : places[start]], "–"]
        last = max(places[end], places[end - 1] + 1)  # a letter of which a part is theirs goes whole
    return "".join([*pieces, text[last:]])


def without(said: Any, names: re.Pattern[str] | None) -> Any:
    """Some part of a case, or of what is said of it, with a dash for each of them in its `TEXTS`. It can be read again: a text that
    could not be is left out.
    """
    if isinstance(said, tuple):
        return tuple(without(part, names) for part in said)
    if isinstance(said, Mapping):
        return {key: without(part, names) for key, part in said.items()}
    if not isinstance(said, BaseModel):
        return said
    parts = {
        name: (_dashed_all if name in TEXTS else without)(getattr(said, name), names)
        for name in type(said).model_fields
    }
    anew = {name: part for name, part in parts.items() if part != getattr(said, name)}
    if not anew:
        return said
    less = said.model_copy(update=anew)
    try:
        type(said)(**dict(less))
    except ValidationError:
        unset = {name: field.get_default(call_default_factory=True) for name, field in type(said).model_fields.items()}
        return less.model_copy(update={name: unset[name] for name in anew if name in TEXTS})
    return less


def _dashed_all(said: Any, names: re.Pattern[str] | None) -> Any:
    """A text, or the same by language."""
    if isinstance(said, Mapping):
        return {language: dashed(text, names) for language, text in said.items()}
    return said and dashed(said, names)


def _written(name: Name) -> tuple[str, ...]:
    return (name.public, *name.scripts.values())


def _telling_words(name: str) -> list[str]:
    words = _WORDS.findall(unicodedata.normalize("NFC", name))
    told = [word for word in words if not word.islower()] or words
    return [word for word in told if len(word) >= LEAST_LETTERS]


def _spoken(name: str) -> _Found:
    """What finds a name, whatever stands between its words, with or without the full stop at its end or an s that makes it a genitive."""
    plain = _compared(name)
    return _bounded(_WORDS.findall(plain), r"[\W_]+", r"\.?" if plain.endswith(".") else "s?")


def _bounded(words: Sequence[str], between: str, end: str = "") -> _Found:
    if not words:
        return "", "", ""
    before = "" if _BEGINS_ANYWHERE.match(words[0]) else f"(?<!{_LETTER})"
    after = "" if _ENDS_ANYWHERE.match(words[-1][-1]) else f"(?!{_LETTER})"
    return before, between.join(map(re.escape, words)) + end, after


def _any_of(found: Iterable[_Found]) -> re.Pattern[str] | None:
    """Any of them, longest first. Each bound stands there once: it takes milliseconds to compile."""
    bodies: dict[tuple[str, str], set[str]] = {}
    for before, body, after in found:
        if body:
            bodies.setdefault((before, after), set()).add(body)
    alike = [
        f"{before}(?:{'|'.join(sorted(some, key=lambda one: (-len(one), one)))}){after}"
        for (before, after), some in bodies.items()
    ]
    return re.compile("|".join(alike)) if alike else None


def _compared(text: str) -> str:
    """A text as it is compared."""
    return text.lower() if text.isascii() else _bare(text)


def _plain(text: str) -> tuple[str, Sequence[int]]:
    """The same, and where in the text each of these letters stands, and its end."""
    if text.isascii():
        return text.lower(), range(len(text) + 1)
    found = [(letter, at) for at, written in enumerate(text) for letter in _bare_letter(written)]
    return "".join(letter for letter, _ in found), [*(at for _, at in found), len(text)]


def _bare(text: str) -> str:
    """Without case and accents, and nothing for what nobody sees. It is that of its letters, one after the other: what stands in another
    order by then is left out.
    """
    apart = unicodedata.normalize("NFKD", text.casefold().translate(PLAIN_LETTERS))
    return "".join(part for part in apart if not unicodedata.combining(part) and part not in _UNSEEN)


_bare_letter = lru_cache(maxsize=4_096)(_bare)


#: Of a child, and of a case, what is still told or never was.
OF_CHILD = ("id", "age", "sex")
OF_CASE = ("number", "verification", "best_interests", "protection", "last_seen", "contact")

#: What goes, as paths.
RESTRICTED = (
    *(f"case/children/*/{name}" for name in Child.model_fields if name not in OF_CHILD),
    *(f"case/{name}" for name in Case.model_fields if name not in (*OF_CASE, "children")),
    *(f"info/*/{name}" for name in Info.model_fields if name != "source"),
    "event",
    "sender_name",
)


def restricted(alert: Alert) -> Alert:
    """The alert without name, looks, clothes, photos, persons sought, vehicles and whatever was written freely. Its languages stay
    as they are, so that what is queued in one of them can be told in it.
    """
    case = alert.case
    children = tuple(Child(**{name: getattr(child, name) for name in OF_CHILD}) for child in case.children)
    left = Case(**{name: getattr(case, name) for name in OF_CASE}, children=children)
    return alert.model_copy(
        update={
            "case": without(left, called(case)),
            "info": {tag: Info(source=text.source) for tag, text in alert.info.items()},
            "event": None,
            "sender_name": None,
        }
    )


def called(case: Case) -> re.Pattern[str] | None:
    """What finds its children by any word of their names; None where it has none."""
    return pattern_of_words(child.name for child in case.children if child.name)
