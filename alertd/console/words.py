"""Generates a script of texts for each language of the console, so that a browser loads only its own language."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from alertd.service.carriers.states import SENTENCES


class Catalogue(NamedTuple):
    """All texts of the console."""

    languages: list[str]
    words: dict[str, list[str]]  # by key, in the order of the languages


def catalogue_of(path: Path) -> Catalogue:
    """Returns the texts in the file `path`, words.json. The file has null for the English texts of carriers' causes:
    this fills in the sentences that the API and the command line use.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    for code, (sentence, _) in SENTENCES.items():
        found["words"][f"cause-{code}"][0] = sentence
    return Catalogue(**found)


def modules(path: Path) -> dict[str, str]:
    """Returns the text of each language's script by file name, such as `words.en.js`. `path`: of words.json."""
    catalogue = catalogue_of(path)
    return {
        f"words.{tag}.js": _module({key: row[column] for key, row in catalogue.words.items()})
        for column, tag in enumerate(catalogue.languages)
    }


def _module(words: dict[str, str]) -> str:
    return f"// Made by alertd from words.json.\nexport default {json.dumps(words, indent=0, ensure_ascii=False)};\n"
