"""Makes one script of texts per language; a browser loads only its own."""

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
    """Reads words.json. The English text of a cause is null there; it comes from the API and the command line."""
    found = json.loads(path.read_text(encoding="utf-8"))
    for code, (sentence, _) in SENTENCES.items():
        found["words"][f"cause-{code}"][0] = sentence
    return Catalogue(**found)


def modules(path: Path) -> dict[str, str]:
    """Returns the script of each language by file name."""
    catalogue = catalogue_of(path)
    return {
        f"words.{tag}.js": _module({key: row[column] for key, row in catalogue.words.items()})
        for column, tag in enumerate(catalogue.languages)
    }


def _module(words: dict[str, str]) -> str:
    return f"// Made by alertd from words.json.\nexport default {json.dumps(words, indent=0, ensure_ascii=False)};\n"
