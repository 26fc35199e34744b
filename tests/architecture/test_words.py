"""The English of this repository is plain: few forms that hide who does what ("whoever", "is told", "of what", "nobody").

A figure only points. A sentence is plain if a stranger understands it at the first reading; CONTRIBUTING.md, "Words", says how.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pages import PAGES, ROOT, prose

RIDDLE = re.compile(
    r"\b(whoever|whatever|whichever|whom|whose|wherever|nobody|somebody|anybody|of what|what is|what was|what are|who is|is told|are told"
    r"|be told|was told|were told|tells|is said|are said|was said|is asked|are asked|so many|as it is|as they are|that is to|is to be|are to be"
    r"|those who|one another|put off|let go)\b",
    re.IGNORECASE,
)
#: Riddles in 1,000 words, at most. Lower a figure when the text becomes plainer; never raise one.
MOST = {"documents": 1.5, "code": 3.0, "texts": 4.0}
#: `ops/reference.py` writes these from the texts of the program, which count as code and texts.
GENERATED = ROOT / "ops" / "docs" / "reference"
LEFT_OUT = {"vendor", "node_modules", ".venv", ".git", ".cache", "tests", "__pycache__", "build", "dist"}


def riddles(texts: Iterator[str]) -> float:
    """How many there are in 1,000 words of sentences of four words or more."""
    found = words = 0
    for text in texts:
        plain = re.sub(r"`[^`]*`|\[([^\]]*)\]\([^)]*\)|https?://\S+|\{[^}]*\}", lambda match: match[1] or "X", text)
        for sentence in re.split(r"(?<=[.!?:;])\s+|\n\s*\n", plain):
            length = len(re.findall(r"[A-Za-zÀ-ÿ'’-]+", sentence))
            if length >= 4:
                words += length
                found += len(RIDDLE.findall(sentence))
    return 1000 * found / max(words, 1)


def documents() -> Iterator[str]:
    for page in PAGES:
        if not page.is_relative_to(GENERATED) or page.name == "glossary.md":
            text = re.sub(r"^\s*(#.*|\|[ :|-]+\|)$", "\n", prose(page), flags=re.MULTILINE)
            yield re.sub(r"^\s*([*+-]|\d+\.)\s+|\|", "\n\n", text, flags=re.MULTILINE)


def sources(*endings: str) -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*")):
        if path.suffix in endings and not LEFT_OUT & set(path.relative_to(ROOT).parts):
            yield path


def is_documented(node: ast.AST) -> bool:
    return isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))


def code() -> Iterator[str]:
    """Docstrings and comments."""
    for path in sources(".py"):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if is_documented(node):
                yield ast.get_docstring(node) or ""
        lines = io.StringIO(text).readline
        yield "\n".join(
            one.string.lstrip("#: ") for one in tokenize.generate_tokens(lines) if one.type == tokenize.COMMENT
        )
    for path in sources(".lua", ".js"):
        found = re.findall(
            r"/\*.*?\*/|(?:^|\s)//[^\n]*|^\s*--[^\n]*", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
        )
        yield "\n".join(re.sub(r"^[\s/*-]+|\*/$", "", one, flags=re.MULTILINE) for one in found)


def texts() -> Iterator[str]:
    """What people read of the program: texts of five words or more, and the console's words."""
    for path in sources(".py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        bodies = [node.body for node in ast.walk(tree) if is_documented(node)]
        docs = {id(body[0].value) for body in bodies if body and isinstance(body[0], ast.Expr)}
        for node in ast.walk(tree):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
            if is_text and len(re.findall(r"[A-Za-z]{2,}", node.value)) >= 5:
                yield node.value
    yield from english(json.loads((ROOT / "alertd" / "console" / "static" / "words.json").read_text(encoding="utf-8")))


def english(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from english(value["en"]) if "en" in value else (one for each in value.values() for one in english(each))
    elif isinstance(value, list):
        yield from (one for each in value for one in english(each))
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("kind", MOST)
def test_riddles_are_few(kind: str):
    """If this fails, rewrite your sentence: name who does it, in the present tense, the main fact first."""
    found = {"documents": documents, "code": code, "texts": texts}[kind]
    assert riddles(found()) <= MOST[kind]


def test_riddles_are_found():
    """The check above can fail, and a plain sentence passes."""
    assert riddles(iter(["Whoever was told of it is told of what is over."])) > 300
    assert riddles(iter(["alertd sends the end to each recipient of the alert."])) == 0
    assert riddles(iter(["`whoever` is a word in a sample, and alertd ignores it."])) == 0
