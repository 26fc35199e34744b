"""Reads an organisation's own texts: a little of Jinja's language, read as data and never run as a program.

A text has words, facts by their names, `if`, `elif`, `else`, `and`, `or`, `not` and a few filters. It has no loops,
calls, attributes or numbers. So it cannot run for ever, access anything or fail: it only chooses among strings. Reading
refuses everything else that Jinja has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jinja2 import Environment, TemplateSyntaxError, nodes

from alertd.model.kinds import Kind
from alertd.rendering.facts import ENDED
from alertd.rendering.plaintext import tidy

#: Maximum characters of a text: four times what fits any push; a longer mail would not be read.
MAX_LENGTH = 4_000
#: Maximum depth of nested ifs and of words joined by `or`, which people can still follow. Python's stack limit is far
#: higher.
MAX_DEPTH = 12

_EVERYWHERE = ("mark", "heading")
_TELLING = (*_EVERYWHERE, "description", "instruction", "valid_until", "url", "replaces")

#: By message: the facts that an organisation's texts may name. They are those of `facts.Facts` and those that `renderer` makes of them.
NAMES: dict[str, tuple[str, ...]] = {
    Kind.MISSING_CHILD: (*_TELLING, "who", "people", "beside", "place", "seen_at", "last_seen"),
    Kind.GENERAL: (*_TELLING, "headline"),
    ENDED: (*_EVERYWHERE, "headline", "happened", "wish"),
}

#: By channel: the parts of a message that an organisation may write itself.
PARTS: dict[str, tuple[str, ...]] = {"push": ("title", "body"), "sms": ("text",), "mail": ("subject", "body")}

#: By message and part: the fact that the part must contain outside of every `if`, so that the message always identifies
#: its subject.
NEEDED: dict[str, dict[str, str]] = {
    Kind.MISSING_CHILD: {"title": "who", "subject": "who", "text": "who"},
    Kind.GENERAL: {"title": "headline", "subject": "headline", "text": "headline"},
    ENDED: {"body": "happened", "text": "happened"},
}


def _sentence(text: str) -> str:
    """Returns the text with its first letter in capitals."""
    return text[:1].upper() + text[1:]


FILTERS: dict[str, Callable[[str], str]] = {"upper": str.upper, "lower": str.lower, "sentence": _sentence}

_ONLY_TO_CHOOSE = "`not` only chooses: it stands in an if."
_BEYOND = "This is beyond what a text may do: it has words, facts by their names, if, elif, else, and, or, not and the filters " + ", ".join(FILTERS) + "."  # fmt: skip
#: Matches direction characters: isolates, embeddings and overrides. The renderer sets directions, and an unclosed one
#: would reverse later text.
_DIRECTIONS = re.compile("[\u202a-\u202e\u2066-\u2069]")


class TextPlace(NamedTuple):
    """The place for which an organisation writes a text: message, channel, language (one of the catalogues) and part."""

    message: str
    channel: str
    language: str
    part: str


@dataclass(frozen=True, slots=True)
class TextFault:
    """A fault of a text, and its line (from 1)."""

    line: int
    sentence: str


class RefusedTextError(ValueError):
    """An organisation's text is not accepted; `faults` lists all its faults."""

    def __init__(self, faults: Sequence[TextFault]) -> None:
        super().__init__("This text is not taken.")
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class OwnText:
    """A text of an organisation that was parsed and accepted."""

    body: Sequence[nodes.Node]

    def filled(self, facts: Mapping[str, str]) -> str:
        """Returns the text with the facts filled in. Never raises if `facts` has all of `NAMES`."""
        return tidy("".join(_told(self.body, facts)))


OwnTexts = Mapping[TextPlace, OwnText]
NONE: OwnTexts = {}


def read_text(source: str, place: TextPlace) -> OwnText:
    """Returns the parsed text for a place. Raises `RefusedTextError` if it contains anything that is not allowed there."""
    if len(source) > MAX_LENGTH:
        raise RefusedTextError([TextFault(1, f"A text may have at most {MAX_LENGTH} characters.")])
    try:
        body = Environment(trim_blocks=True, lstrip_blocks=True).parse(source).body  # noqa: S701  parsed, never rendered
    except TemplateSyntaxError as error:
        raise RefusedTextError([TextFault(error.lineno, "Here the text is not well formed.")]) from None
    except (RecursionError, ValueError):  # ValueError: a number too long to be one
        raise RefusedTextError([TextFault(1, "Too much is nested here.")]) from None
    faults = [*_faults(body, place.message), *_turns(source)]
    needed = NEEDED[place.message].get(place.part)
    if needed and not faults and needed not in _always(body):
        faults.append(TextFault(1, f"{{{{ {needed} }}}} must stand in it, outside of every if."))
    if faults:
        raise RefusedTextError(sorted(faults, key=lambda fault: fault.line))
    return OwnText(tuple(body))


def _turns(source: str) -> Iterator[TextFault]:
    """Yields a fault for each direction character in the text."""
    for hit in _DIRECTIONS.finditer(source):
        yield TextFault(source.count("\n", 0, hit.start()) + 1, "Leave directions to the renderer.")


def _faults(body: Sequence[nodes.Node], message: str, depth: int = 1, *, chooses: bool = False) -> Iterator[TextFault]:
    """Yields all faults in these parsed pieces of a text and in the pieces inside them. `chooses`: they are the condition of an `if`."""
    for node in body:
        wrong = "Too much is nested here." if depth > MAX_DEPTH else _wrong(node, message, chooses=chooses)
        if wrong:
            yield TextFault(node.lineno or 1, wrong)
        elif isinstance(node, nodes.If):
            yield from _faults([node.test], message, depth + 1, chooses=True)
            yield from _faults([*node.body, *node.elif_, *node.else_], message, depth + 1)
        else:
            yield from _faults(list(node.iter_child_nodes()), message, depth + 1, chooses=chooses)


def _wrong(node: nodes.Node, message: str, *, chooses: bool) -> str:
    """Returns the fault of one piece of a text, without the pieces inside it; "" if it is allowed."""
    match node:
        case nodes.Name(name=name) if name not in NAMES[message]:
            return f"There is no such fact here. There are {', '.join(NAMES[message])}."
        case nodes.Not() if not chooses:
            return _ONLY_TO_CHOOSE
        case nodes.Filter(name=name) if node.node is not None and name in FILTERS and not _has_arguments(node):
            return ""
        case nodes.Output() | nodes.TemplateData() | nodes.Name() | nodes.If() | nodes.Or() | nodes.And() | nodes.Not():
            return ""
    return _BEYOND


def _has_arguments(node: nodes.Filter) -> bool:
    """Returns whether the filter is written with arguments."""
    return bool(node.args or node.kwargs or node.dyn_args or node.dyn_kwargs)


def _always(body: Sequence[nodes.Node]) -> set[str]:
    """Returns the facts that the text shows in every case: outside of every `if`, and without a filter."""
    shown = (child for node in body if isinstance(node, nodes.Output) for child in node.nodes)
    return {child.name for child in shown if isinstance(child, nodes.Name)}


def _told(body: Sequence[nodes.Node], facts: Mapping[str, str]) -> Iterator[str]:
    """Yields the pieces of the text, with the facts filled in and the fitting branch of each `if`."""
    for node in body:
        if isinstance(node, nodes.Output):
            for child in node.nodes:
                yield child.data if isinstance(child, nodes.TemplateData) else _value(child, facts)
        elif isinstance(node, nodes.If):
            chosen = next((each for each in (node, *node.elif_) if _value(each.test, facts)), None)
            yield from _told(node.else_ if chosen is None else chosen.body, facts)


def _value(node: nodes.Node, facts: Mapping[str, str]) -> str:
    """Returns the value of a node: a fact, or an expression of facts; "" means false."""
    match node:
        case nodes.Name():
            return facts[node.name]
        case nodes.Filter(node=inner) if inner is not None:
            return FILTERS[node.name](_value(inner, facts))
        case nodes.Or():
            return _value(node.left, facts) or _value(node.right, facts)
        case nodes.And():
            return _value(node.left, facts) and _value(node.right, facts)
        case nodes.Not():
            return "" if _value(node.node, facts) else "yes"
    raise AssertionError(type(node))  # `_faults` lets nothing else through
