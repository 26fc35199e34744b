"""The console's words, each language in a script of its own: a browser loads the one that it shows."""

from __future__ import annotations

import json
from pathlib import Path


def modules(catalogue: Path) -> dict[str, str]:
    """By the name of its file, the script with the words of a language; the catalogue has them side by side."""
    told = json.loads(catalogue.read_text(encoding="utf-8"))
    return {
        f"words.{tag}.js": _module({key: row[column] for key, row in told["words"].items()})
        for column, tag in enumerate(told["languages"])
    }


def _module(words: dict[str, str]) -> str:
    return f"// Made by alertd from words.json.\nexport default {json.dumps(words, indent=0, ensure_ascii=False)};\n"
