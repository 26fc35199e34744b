"""The children of one CAP element, taken out by name and read; what is wrong with their form is noted, with its line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from lxml import etree

from alertd.common.errors import Fault
from alertd.model.cap.messages import Named
from alertd.model.cap.parsing import NAMESPACES, line_of
from alertd.model.cap.values import SPACE
from alertd.model.faults import pointer_of

Value = TypeVar("Value")


class Notes:
    """What is noted while a document is read: its faults, and the line of each element by its pointer."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.lines: dict[str, int] = {}

    def fault(self, pointer: str, sentence: str, line: int) -> None:
        self.faults.append(Fault(pointer, sentence, line=line))


class Children:
    """The children of an element. Those of foreign namespaces, as a signature is, are none of them."""

    def __init__(
        self, element: etree._Element, pointer: str, once: Iterable[str], many: Iterable[str], notes: Notes
    ) -> None:
        """`once` and `many` are the names that may stand there, once or often; anything else is a fault."""
        self._element = element
        self._pointer = pointer
        self._notes = notes
        self._many = frozenset(many)
        self._found: dict[str, list[etree._Element]] = {name: [] for name in (*once, *many)}
        own = etree.QName(element).namespace
        if any((text or "").strip(SPACE) for text in (element.text, *(child.tail for child in element))):
            self._fault(element, pointer, "Text stands here that is in no element: nobody would be told of it.")
        for child in element:
            name = etree.QName(child)
            if name.namespace == own:
                self._sort_in(child, name.localname)
            elif name.namespace is None or name.namespace in NAMESPACES:
                self._fault(child, pointer + pointer_of([name.localname]), "This is not in the namespace of its alert.")

    def _sort_in(self, child: etree._Element, name: str) -> None:
        if name not in self._found:
            self._fault(child, self._pointer + pointer_of([name]), "CAP has no such element here.")
        elif self._found[name] and name not in self._many:
            self._fault(child, f"{self._pointer}/{name}", "This may stand here once.")
        else:
            self._found[name].append(child)

    def _fault(self, at: etree._Element, pointer: str, sentence: str) -> None:
        self._notes.fault(pointer, sentence, line_of(at))

    def nodes(self, name: str) -> list[tuple[etree._Element, str]]:
        """All of this name, with their pointers."""
        found = []
        for i, child in enumerate(self._found[name]):
            pointer = f"{self._pointer}/{name}/{i}" if name in self._many else f"{self._pointer}/{name}"
            self._notes.lines[pointer] = line_of(child)
            found.append((child, pointer))
        return found

    def values(self, name: str, read: Callable[[str], Value | None], *, required: bool = False) -> tuple[Value, ...]:
        """Those that hold something, read. Empty ones are as if they were not there."""
        found, said = [], False
        for child, pointer in self.nodes(name):
            if len(child):
                self._fault(child, pointer, "Only text may stand in this element.")
                said = True
            elif text := (child.text or "").strip(SPACE):
                said = True
                try:
                    value = read(text)
                except ValueError as error:
                    self._fault(child, pointer, str(error))
                else:
                    found += [] if value is None else [value]
        if required and not said:
            self._fault(self._element, f"{self._pointer}/{name}", f"The element {name} is required.")
        return tuple(found)

    def value(self, name: str, read: Callable[[str], Value | None], *, required: bool = False) -> Value | None:
        return next(iter(self.values(name, read, required=required)), None)

    def text(self, name: str, *, required: bool = False) -> str | None:
        return self.value(name, str, required=required)

    def named(self, name: str) -> tuple[Named, ...]:
        """Pairs of valueName and value. In CAP 1.0 they are one text, name=value, or a value alone: then the element's own name
        stands for that of its system. A pair without a name and a value says nothing.
        """
        found = []
        for child, pointer in self.nodes(name):
            text = (child.text or "").strip(SPACE)
            code, _, value = text.partition("=") if "=" in text else (name if text else "", "", text)
            if len(child):
                pair = Children(child, pointer, ("valueName", "value"), (), self._notes)
                code, value = pair.text("valueName") or "", pair.text("value") or ""
            if code:
                found.append(Named(name=code, value=value))
            elif value:
                self._fault(child, f"{pointer}/valueName", "A value needs the name of what it is a value of.")
        return tuple(found)
