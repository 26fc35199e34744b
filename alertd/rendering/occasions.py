"""Why a message goes out: the alert itself, more of it, or its end. Decides which words a message may have.

Of an end nobody learns whom the alert was about, where, or how it ended: a name once taken back must not be told again, and
the outcome belongs to the family.

Then the room that a channel has for a message, where its readers are, and the values that its facts have.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from alertd.model.kinds import CancelReason, Kind, Occasion

#: The folder of messages that say an alert has ended; the others are named after its kind.
ENDED = "ended"
MESSAGES = (*Kind, ENDED)

#: What ends an alert; the rest tells it.
ENDINGS = frozenset({Occasion.STAND_DOWN, Occasion.CLOSE, Occasion.CANCEL})

#: Which safety line goes with what, by its name in the catalogue; `one-or-many` by how many children are sought. None where nobody
#: is to be looked for any more and nothing is to be kept away from. A stand-down can be reversed, so someone may still be
#: seen; and whoever was told of a false alert may still be on their way.
SAFETY: dict[Kind, dict[Occasion, str]] = {
    Kind.MISSING_CHILD: {
        Occasion.ALERT: "one-or-many",
        Occasion.UPDATE: "one-or-many",
        Occasion.STAND_DOWN: "stand-down",
        Occasion.CANCEL: "cancel",
    },
    Kind.GENERAL: {
        Occasion.ALERT: "general",
        Occasion.UPDATE: "general",
        Occasion.STAND_DOWN: "general",
    },
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Telling:
    """The occasion of a version's messages. Raises `ValueError` for a cancel without reason, a reason without cancel, or an end
    without the moment of what it ends.
    """

    occasion: Occasion = Occasion.ALERT
    reason: CancelReason | None = None  # of a cancel
    alerted_at: datetime | None = None  # of an end: when people were first told, aware

    def __post_init__(self) -> None:
        if (self.occasion is Occasion.CANCEL) != (self.reason is not None):
            raise ValueError("A cancel has a reason, and nothing else has one.")
        if self.is_end and self.alerted_at is None:
            raise ValueError("Whoever is told of an end is told of which alert: of what moment it was.")

    @property
    def is_end(self) -> bool:
        return self.occasion in ENDINGS

    @property
    def code(self) -> str:
        """What has happened, as the catalogue names it: the reason of a cancel, else the occasion."""
        return (self.reason or self.occasion).value


def message_of(kind: Kind, telling: Telling) -> str:
    """Which of `MESSAGES` it is."""
    return ENDED if telling.is_end else kind.value


#: What is sent today.
THE_ALERT = Telling()


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
