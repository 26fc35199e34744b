"""How answers are told: JSON for programs, tables and bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from alertd.commands.base.options import common

#: Off a terminal nothing is cut or wrapped: a line is a row.
UNBOUNDED = 10_000
#: Encodings of an output that takes every letter.
UNICODE = frozenset({"utf-8", "utf8", "utf-16"})
#: Control characters that JSON need not escape, and what turns the direction of writing.
_COMMANDS = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
#: What a person need not be told.
NOTHING: tuple[Any, ...] = (None, "", [], {})


def tell_json(document: Any) -> None:
    """One JSON text on one line. What a terminal would take for a command is escaped, and whatever it cannot write."""
    text = json.dumps(document, ensure_ascii=(sys.stdout.encoding or "").lower() not in UNICODE)
    sys.stdout.write(_COMMANDS.sub(lambda one: f"\\u{ord(one[0]):04x}", text) + "\n")
    sys.stdout.flush()


def told_in_json(document: Any) -> bool:
    """Prints an answer as JSON if the command line has --json. Returns whether it did."""
    if common().as_json:
        tell_json(document)
    return common().as_json


def tell_answer(answer: Any, in_words: str | Callable[[Any], object]) -> None:
    """Prints an answer: as JSON with --json, else as the sentence, or by the function."""
    if not told_in_json(answer):
        tell(in_words) if isinstance(in_words, str) else in_words(answer)


def tell(line: str) -> None:
    """A line of the answer."""
    sys.stdout.write(harmless(line) + "\n")
    sys.stdout.flush()


def remark(line: str) -> None:
    """A line beside the answer."""
    sys.stderr.write(harmless(line) + "\n")
    sys.stderr.flush()


def console() -> Console:
    """Standard output, as wide as the terminal, or without bounds where there is none."""
    return Console(width=None if sys.stdout.isatty() else UNBOUNDED, highlight=False, emoji=False, markup=False)


def tell_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows under their columns' names."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)  # the first is what is copied
    for row in rows:
        table.add_row(*(Text(harmless(shown(value))) for value in row))
    _print(table)


def tell_facts(facts: Mapping[str, Any]) -> None:
    """A name and its value a line; what is not there is left out."""
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        if value not in NOTHING:
            table.add_row(Text(name, "bold"), Text(harmless(shown(value))))
    _print(table)


def tell_some(answer: Mapping[str, Any], names: Iterable[str]) -> None:
    """Those of an answer's facts; in JSON all of it."""
    if not told_in_json(answer):
        tell_facts({name: answer[name] for name in names})


def tell_list(answer: Mapping[str, Any], under: str, columns: Sequence[str]) -> None:
    """What an answer has `under` a name, one a row; in JSON all of it."""
    if not told_in_json(answer):
        tell_table(columns, ([one[name] for name in columns] for one in answer[under]))


def _print(table: Table) -> None:
    """On a terminal as it is; elsewhere without the spaces that fill up its lines."""
    to = console()
    with to.capture() as captured:
        to.print(table)
    text = captured.get()
    sys.stdout.write(text if to.is_terminal else "".join(f"{line.rstrip()}\n" for line in text.splitlines()))
    sys.stdout.flush()


def shown(value: Any) -> str:
    """A value in words."""
    match value:
        case None | bool():
            return {None: "", True: "yes", False: "no"}[value]
        case int() | float():
            return f"{value:,}"
        case list() | tuple():
            return ("; " if any(isinstance(each, dict) for each in value) else ", ").join(map(shown, value))
        case dict():
            return ", ".join(f"{name} {shown(each)}" for name, each in value.items() if each not in NOTHING)
        case _:
            return str(value)


def estimated(count: int | str) -> str:
    """An estimate in words."""
    return f"about {count:,}" if isinstance(count, int) else f"fewer than {count.removeprefix('<')}"


def people_of(alert: Mapping[str, Any]) -> str:
    """How many people an alert reaches, in words."""
    return shown(alert["people"]) if alert["exact"] else estimated(alert["people"])


def harmless(text: str) -> str:
    """Without the characters that would steer a terminal; a space that breaks no line is a space there."""
    return "".join(" " if unicodedata.category(char) == "Zs" else char for char in text if _is_shown(char))


def _is_shown(char: str) -> bool:
    return char.isprintable() or char in "\n\t" or unicodedata.category(char) == "Zs"
