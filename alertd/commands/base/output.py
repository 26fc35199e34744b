"""Prints answers as JSON, tables or lines, and remarks to standard error. Keeps control characters
from the terminal.
"""

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

#: Width of the output in characters if there is no terminal: too large for any row to be cut or wrapped.
UNBOUNDED = 10_000
#: Encodings that have every character.
UNICODE = frozenset({"utf-8", "utf8", "utf-16"})
#: Characters that JSON leaves unescaped and a terminal obeys: controls, and changes of the writing direction.
_COMMANDS = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
#: Empty values, which the output for people leaves out.
NOTHING: tuple[Any, ...] = (None, "", [], {})


def tell_json(document: Any) -> None:
    """Prints a value as JSON on one line to standard output. Escapes characters that a terminal would read as a
    command, and those that its encoding lacks.
    """
    text = json.dumps(document, ensure_ascii=(sys.stdout.encoding or "").lower() not in UNICODE)
    sys.stdout.write(_COMMANDS.sub(lambda one: f"\\u{ord(one[0]):04x}", text) + "\n")
    sys.stdout.flush()


def told_in_json(document: Any) -> bool:
    """Prints a value as JSON if the command line has --json. Returns whether it has."""
    if common().as_json:
        tell_json(document)
    return common().as_json


def tell_answer(answer: Any, in_words: str | Callable[[Any], object]) -> None:
    """Prints an answer: as JSON with --json, else the sentence `in_words`, or by calling the function `in_words` with
    it.
    """
    if not told_in_json(answer):
        tell(in_words) if isinstance(in_words, str) else in_words(answer)


def tell(line: str) -> None:
    """Prints a line of the answer to standard output, without control characters."""
    sys.stdout.write(harmless(line) + "\n")
    sys.stdout.flush()


def remark(line: str) -> None:
    """Prints a remark to standard error, without control characters."""
    sys.stderr.write(harmless(line) + "\n")
    sys.stderr.flush()


def console() -> Console:
    """Returns a console on standard output: as wide as the terminal, or unbounded without one."""
    return Console(width=None if sys.stdout.isatty() else UNBOUNDED, highlight=False, emoji=False, markup=False)


def tell_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Prints rows as a table with named columns."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)  # the first column is copied, so it stays whole
    for row in rows:
        table.add_row(*(Text(harmless(shown(value))) for value in row))
    _print(table)


def tell_facts(facts: Mapping[str, Any]) -> None:
    """Prints a line for each name and value, and leaves out empty values."""
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        if value not in NOTHING:
            table.add_row(Text(name, "bold"), Text(harmless(shown(value))))
    _print(table)


def tell_some(answer: Mapping[str, Any], names: Iterable[str]) -> None:
    """Prints the facts of an answer that have these names; with --json prints the whole answer."""
    if not told_in_json(answer):
        tell_facts({name: answer[name] for name in names})


def tell_list(answer: Mapping[str, Any], under: str, columns: Sequence[str]) -> None:
    """Prints the list in the member `under` of an answer, a row for each item; with --json prints the whole answer."""
    if not told_in_json(answer):
        tell_table(columns, ([one[name] for name in columns] for one in answer[under]))


def _print(table: Table) -> None:
    """Prints a table to standard output. Without a terminal, strips the padding at the ends of lines."""
    to = console()
    with to.capture() as captured:
        to.print(table)
    text = captured.get()
    sys.stdout.write(text if to.is_terminal else "".join(f"{line.rstrip()}\n" for line in text.splitlines()))
    sys.stdout.flush()


def shown(value: Any) -> str:
    """Returns a JSON value as text for people: yes or no, numbers with commas, lists and objects on one line, "" for
    None.
    """
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
    """Returns an estimate of people in words: "about 480" for 480, "fewer than 100" for "<100"."""
    return f"about {count:,}" if isinstance(count, int) else f"fewer than {count.removeprefix('<')}"


def people_of(alert: Mapping[str, Any]) -> str:
    """Returns how many people an alert reaches as text: the exact number if the answer has it, else the estimate."""
    return shown(alert["people"]) if alert["exact"] else estimated(alert["people"])


def harmless(text: str) -> str:
    """Returns a text without the characters that control a terminal. Every kind of space becomes a plain space."""
    return "".join(" " if unicodedata.category(char) == "Zs" else char for char in text if _is_shown(char))


def _is_shown(char: str) -> bool:
    return char.isprintable() or char in "\n\t" or unicodedata.category(char) == "Zs"
