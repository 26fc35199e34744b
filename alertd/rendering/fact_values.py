"""The values that facts have: how much room a text has, where readers are, children, contacts and photos."""

from __future__ import annotations

from dataclasses import dataclass, replace

#: More than any document is long.
_ENDLESS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """How much a channel has room for, in characters and people; more is cut, or counted (`and 2 more`)."""

    named: int  # in the first line
    people: int  # described below
    name: int
    place: int
    headline: int
    text: int  # one free text; 0 = whole, in paragraphs
    form: str  # of dates: long or short; a short one that is long ago has its year
    contacts: int  # ways to answer; the first is that of the safety line
    photo: str = ""  # the size in which photos are shown; empty = not at all

    def boundless(self) -> Room:
        """The same without any limit."""
        return Room(
            named=_ENDLESS,
            people=_ENDLESS,
            name=_ENDLESS,
            place=_ENDLESS,
            headline=_ENDLESS,
            text=self.text and _ENDLESS,
            form=self.form,
            contacts=_ENDLESS,
            photo=self.photo,
        )

    def for_fewer(self, children: int) -> list[Room]:
        """Of several children the others are counted, down to the first; in the end half of a long name and place is enough."""
        rooms = [replace(self, named=named) for named in range(min(self.named, children) - 1, 0, -1)]
        return [*rooms, replace(self, named=1, name=self.name // 2, place=self.place // 2)] if children > 1 else []


@dataclass(frozen=True, kw_only=True, slots=True)
class Where:
    """Where an alert is told, and from where."""

    countries: tuple[str, ...] = ()  # that its area lies in (ISO 3166-1); empty where nobody knows
    site: str = ""  # the address that people reach us at, for photos and for those who leave


NOWHERE = Where()


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownPhoto:
    """One photo: where it is, and what it shows in words: "Lucía smiling", else "Photo: Lucía P."."""

    url: str
    alt: str
    caption: str  # the same, always with the word for a photo


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildFacts:
    """One child. Nothing known is an empty string."""

    name: str
    age: str
    sex: str
    height: str
    hair: str
    eyes: str
    clothing: str
    marks: str
    photos: tuple[ShownPhoto, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ContactFacts:
    """One way to answer."""

    ask: str  # "Call 116000"
    shown: str
    href: str
    label: str  # for whom it is, or what it is for; empty where `ask` says all
    countries: str  # where it works, if that is not everywhere where people are told
