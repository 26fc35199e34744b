"""Finds names of people in texts and replaces them with a dash, and restricts an alert.

A name matches as whole words, regardless of accents and capitals. A restricted missing-child alert no longer identifies
the child: it keeps "girl, 13", where and when, and the contacts. A restriction removes every field that this module
does not list as kept, so that a field added later is removed too. The place stays, without the child's name, because
the search needs it. Internal data stays with the case for its staff.
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

#: The fields of a case and of an info that are texts for people. Programs read all other fields.
TEXTS = frozenset({"headline", "description", "instruction", "clothing", "marks", "alt", "place"})

#: Minimum letters of a word of a name to be searched for alone. Shorter words occur in too many other words: initials,
#: "de", "al".
LEAST_LETTERS = 3

#: Character ranges of scripts without spaces, or with suffixes (Korean): a word may begin and end anywhere in them.
_RUNNING = "\u0e00-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\ua4cf\uac00-\ud7ff\U00020000-\U0003ffff"
#: Character range of scripts with prefixes (Hebrew, Arabic): a word may begin anywhere in them.
_PREFIXED = "\u0590-\u08ff"
#: Vowel signs of the scripts of India, which Python does not count as letters.
_SIGNS = "\u0900-\u0963\u0966-\u0dff"
#: Matches a letter or digit. A whole word has none directly before or after it.
_LETTER = f"(?:[^\\W_{_RUNNING}]|[{_SIGNS}])"
_WORDS = re.compile(f"(?:[^\\W_]|[{_SIGNS}])+")
_BEGINS_ANYWHERE, _ENDS_ANYWHERE = re.compile(f"[{_RUNNING}{_PREFIXED}]"), re.compile(f"[{_RUNNING}]")
#: Characters that are invisible inside a word: the soft hyphen and joiners.
_UNSEEN = "\u00ad\u200b\u200c\u200d\u2060"


#: The parts of a pattern: a lookbehind, the pattern of the words (empty if there are none), and a lookahead.
_Found = tuple[str, str, str]


def pattern_of(names: Iterable[Name], plates: Iterable[str] = ()) -> re.Pattern[str] | None:
    """Returns a pattern for whole names, in every script of the name, and for plates with any spacing.

    Returns None if there is nothing to find.
    """
    spoken = (_spoken(text) for name in names for text in _written(name))
    return _any_of([*spoken, *(_bounded(_compared(bare_plate(plate)), r"[\W_]*") for plate in plates)])


def pattern_of_words(names: Iterable[Name]) -> re.Pattern[str] | None:
    """Returns a pattern that matches the names and also any single word of them, or None if there are none. A neighbour
    may recognise a child by a first name and a street. Leaves out joining words in lower case, as in María del Mar, and
    words of fewer than `LEAST_LETTERS` letters.
    """
    texts = [text for name in names for text in _written(name)]
    return _any_of(map(_spoken, (*texts, *(word for text in texts for word in _telling_words(text)))))


def words_of(names: Iterable[Name]) -> frozenset[str]:
    """Returns the words of the names in the form used for comparison (as `words_in`). Leaves out joining words in lower
    case and words of fewer than `LEAST_LETTERS` letters.
    """
    return frozenset(_compared(word) for name in names for text in _written(name) for word in _telling_words(text))


def words_in(text: str) -> frozenset[str]:
    """Returns the words of a text without case, accents and invisible characters, for a comparison."""
    return frozenset(_WORDS.findall(_compared(text)))


def names_any(text: str, names: re.Pattern[str] | None) -> bool:
    """Returns whether a text contains a name that the pattern `names` finds."""
    return names is not None and names.search(_compared(text)) is not None


def dashed(text: str, names: re.Pattern[str] | None) -> str:
    """Returns a text with a dash in place of each name."""
    if names is None:
        return text
    plain, places = _plain(text)
    pieces, last = [], 0
    for hit in names.finditer(plain):
        start, end = hit.span()
        if places[start] >= last:
            pieces += [text[last : places[start]], "–"]
        last = max(places[end], places[end - 1] + 1)  # a letter goes whole, even if only part of it is the name's
    return "".join([*pieces, text[last:]])


def without(said: Any, names: re.Pattern[str] | None) -> Any:
    """Returns a part of a case or info with a dash for each name in its texts (`TEXTS`). The result is valid: a text
    that would be invalid with the dash is removed.
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
    """Returns a text, or texts by language, with a dash for each name."""
    if isinstance(said, Mapping):
        return {language: dashed(text, names) for language, text in said.items()}
    return said and dashed(said, names)


def _written(name: Name) -> tuple[str, ...]:
    """Returns the spellings of a name in all scripts."""
    return (name.public, *name.scripts.values())


def _telling_words(name: str) -> list[str]:
    """Returns the words of a name to search for alone: at least `LEAST_LETTERS` letters, and not in lower case, unless
    all of its words are.
    """
    words = _WORDS.findall(unicodedata.normalize("NFC", name))
    capitalised = [word for word in words if not word.islower()] or words
    return [word for word in capitalised if len(word) >= LEAST_LETTERS]


def _spoken(name: str) -> _Found:
    """Returns the pattern of a name. It allows any separators between the words, and a final full stop or a genitive s."""
    plain = _compared(name)
    return _bounded(_WORDS.findall(plain), r"[\W_]+", r"\.?" if plain.endswith(".") else "s?")


def _bounded(words: Sequence[str], between: str, end: str = "") -> _Found:
    """Returns the pattern of these words in this order as whole words. `between` matches what may stand between two
    words, and `end` what may follow the last.
    """
    if not words:
        return "", "", ""
    before = "" if _BEGINS_ANYWHERE.match(words[0]) else f"(?<!{_LETTER})"
    after = "" if _ENDS_ANYWHERE.match(words[-1][-1]) else f"(?!{_LETTER})"
    return before, between.join(map(re.escape, words)) + end, after


def _any_of(found: Iterable[_Found]) -> re.Pattern[str] | None:
    """Returns one pattern that matches any of these, longest first. Writes each lookaround only once, because compiling
    takes milliseconds. Returns None if there are none.
    """
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
    """Returns a text without case, accents and invisible characters, for a comparison."""
    return text.lower() if text.isascii() else _bare(text)


def _plain(text: str) -> tuple[str, Sequence[int]]:
    """Returns the form of a text used for comparison; and for each of its letters, and its end, the index in the text."""
    if text.isascii():
        return text.lower(), range(len(text) + 1)
    found = [(letter, at) for at, written in enumerate(text) for letter in _bare_letter(written)]
    return "".join(letter for letter, _ in found), [*(at for _, at in found), len(text)]


def _bare(text: str) -> str:
    """Returns the text without case, accents and invisible characters.

    The result is the same for the whole text and letter by letter: normalisation reorders only combining marks, and
    these are dropped.
    """
    apart = unicodedata.normalize("NFKD", text.casefold().translate(PLAIN_LETTERS))
    return "".join(part for part in apart if not unicodedata.combining(part) and part not in _UNSEEN)


_bare_letter = lru_cache(maxsize=4_096)(_bare)


#: Fields of a child and of a case that a restriction keeps: they identify no child, or were never published.
OF_CHILD = ("id", "age", "sex")
OF_CASE = ("number", "verification", "best_interests", "protection", "last_seen", "contact")

#: The fields that a restriction removes, as paths.
RESTRICTED = (
    *(f"case/children/*/{name}" for name in Child.model_fields if name not in OF_CHILD),
    *(f"case/{name}" for name in Case.model_fields if name not in (*OF_CASE, "children")),
    *(f"info/*/{name}" for name in Info.model_fields if name != "source"),
    "event",
    "sender_name",
)


def restricted(alert: Alert) -> Alert:
    """Returns the alert without name, looks, clothes, photos, persons sought, vehicles and all free text.

    Its languages stay, so that queued messages can still be rendered in each of them.
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
    """Returns the pattern that finds the children of a case by any word of their names, or None if no child has a name."""
    return pattern_of_words(child.name for child in case.children if child.name)
