"""The console's words, each language in a script of its own: a browser loads the one that it shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from alertd.service.carriers.states import SENTENCES


class Catalogue(NamedTuple):
    """All words of the console."""

    languages: list[str]
    words: dict[str, list[str]]  # by key, in the order of the languages


def catalogue_of(path: Path) -> Catalogue:
    """Reads words.json. The English of a cause, which is null there, is the sentence of the API and the command line."""
    found = json.loads(path.read_text(encoding="utf-8"))
    for code, (sentence, _) in SENTENCES.items():
        found["words"][f"cause-{code}"][0] = sentence
    return Catalogue(**found)


def modules(path: Path) -> dict[str, str]:
    """By the name of its file, the script with the words of a language; words.json has them side by side."""
    catalogue = catalogue_of(path)
    return {
        f"words.{tag}.js": _module({key: row[column] for key, row in catalogue.words.items()})
        for column, tag in enumerate(catalogue.languages)
    }


def _module(words: dict[str, str]) -> str:
    return f"// Made by alertd from words.json.\nexport default {json.dumps(words, indent=0, ensure_ascii=False)};\n"
