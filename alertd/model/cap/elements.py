"""Reads the children of one CAP element by their names. Notes each fault of form with its line."""

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
    """Collects the faults found in a document, and the line number of each element by its JSON pointer."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.lines: dict[str, int] = {}

    def fault(self, pointer: str, sentence: str, line: int) -> None:
        """Adds a fault to the notes."""
        self.faults.append(Fault(pointer, sentence, line=line))


class Children:
    """The children of an element, by name. Ignores children in foreign namespaces, such as a signature."""

    def __init__(
        self, element: etree._Element, pointer: str, once: Iterable[str], many: Iterable[str], notes: Notes
    ) -> None:
        """`once`: names allowed at most once; `many`: names allowed repeatedly. Notes a fault for any other name."""
        self._element = element
        self._pointer = pointer
        self._notes = notes
        self._many = frozenset(many)
        self._found: dict[str, list[etree._Element]] = {name: [] for name in (*once, *many)}
        own = etree.QName(element).namespace
        if any((text or "").strip(SPACE) for text in (element.text, *(child.tail for child in element))):
            self._fault(element, pointer, "This text is in no element, so alertd cannot send it.")
        for child in element:
            name = etree.QName(child)
            if name.namespace == own:
                self._sort_in(child, name.localname)
            elif name.namespace is None or name.namespace in NAMESPACES:
                self._fault(child, pointer + pointer_of([name.localname]), "This is not in the namespace of its alert.")

    def _sort_in(self, child: etree._Element, name: str) -> None:
        """Files a child under its name. Notes a fault for an unknown name, or for a second child of a name allowed
        once.
        """
        if name not in self._found:
            self._fault(child, self._pointer + pointer_of([name]), "CAP has no such element here.")
        elif self._found[name] and name not in self._many:
            self._fault(child, f"{self._pointer}/{name}", "This may stand here once.")
        else:
            self._found[name].append(child)

    def _fault(self, at: etree._Element, pointer: str, sentence: str) -> None:
        """Notes a fault at the line of an element."""
        self._notes.fault(pointer, sentence, line_of(at))

    def nodes(self, name: str) -> list[tuple[etree._Element, str]]:
        """Returns all children of this name with their pointers, and stores their lines in the notes."""
        found = []
        for i, child in enumerate(self._found[name]):
            pointer = f"{self._pointer}/{name}/{i}" if name in self._many else f"{self._pointer}/{name}"
            self._notes.lines[pointer] = line_of(child)
            found.append((child, pointer))
        return found

    def values(self, name: str, read: Callable[[str], Value | None], *, required: bool = False) -> tuple[Value, ...]:
        """Returns the values of the children of this name that are not empty, as `read` converts them. Treats empty
        ones as absent. Notes the fault of a child that cannot be read, and of a missing `required` one.
        """
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
        """Returns the value of the child of this name, as `values` does; None if it is absent, empty or faulty."""
        return next(iter(self.values(name, read, required=required)), None)

    def text(self, name: str, *, required: bool = False) -> str | None:
        """Returns the text of the child of this name, without white space around it; None if it is absent, empty or
        faulty.
        """
        return self.value(name, str, required=required)

    def named(self, name: str) -> tuple[Named, ...]:
        """Returns the pairs of valueName and value in the children of this name.

        CAP 1.0 writes a pair as one text: `name=value`, or only a value. Then the element's name is the valueName.
        Skips a pair with neither name nor value; notes a fault for a value without a name.
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
                self._fault(child, f"{pointer}/valueName", "A value needs its valueName.")
        return tuple(found)
