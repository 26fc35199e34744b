"""Selects the facts of an alert that may be shown, in the words of one language. Templates see nothing else.

Left out on purpose, so that no template can show it: the exact point, the case number, verification and custody, the author, and what the
case says about the child beyond what helps to recognise it. The message of an end says nothing about a child: a name that was withdrawn
must not be repeated, and the outcome belongs to the family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from alertd.model.alert import Alert, Info, Status
from alertd.model.case import Child, Contact, LastSeen, PersonSought, Photo, Vehicle
from alertd.model.kinds import CancelReason, Kind, Occasion
from alertd.rendering.catalogue import Catalogue, base_language, choose_language, matching, spoken_at, text_in
from alertd.rendering.plaintext import clip, line, paragraphs
from channels.base import OPT_OUT_PLACEHOLDER, Loudness

#: The folder of the templates of messages that say an alert has ended. Other folders are named after the alert's kind.
ENDED = "ended"
MESSAGES = (*Kind, ENDED)

#: Occasions that end an alert; the others announce it.
ENDINGS = frozenset({Occasion.STAND_DOWN, Occasion.CLOSE, Occasion.CANCEL})

#: The name of the safety line in the catalogue, by kind and occasion; `one-or-many` depends on the number of children. None if people need
#: not look for anyone or keep away. After a stand-down, which can be reversed, people may still see a child; and recipients of a false
#: alert may still be on their way.
SAFETY: dict[Kind, dict[Occasion, str]] = {
    Kind.MISSING_CHILD: {
        Occasion.ALERT: "one-or-many",
        Occasion.UPDATE: "one-or-many",
        Occasion.STAND_DOWN: "stand-down",
        Occasion.CANCEL: "cancel",
    },
    Kind.GENERAL: dict.fromkeys((Occasion.ALERT, Occasion.UPDATE, Occasion.STAND_DOWN), "general"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Telling:
    """The occasion of a version's messages. Raises ValueError if exactly a cancel does not have a reason, or if an end has no time."""

    occasion: Occasion = Occasion.ALERT
    reason: CancelReason | None = None  # required for a cancel, None for every other occasion
    alerted_at: datetime | None = None  # required for an end: when people were first notified (aware)

    def __post_init__(self) -> None:
        if (self.occasion is Occasion.CANCEL) != (self.reason is not None):
            raise ValueError("A cancel has a reason, and nothing else has one.")
        if self.is_end and self.alerted_at is None:
            raise ValueError("An end needs the moment at which people were notified of its alert.")

    @property
    def is_end(self) -> bool:
        """Returns whether the messages say that the alert has ended (stand-down, close or cancel)."""
        return self.occasion in ENDINGS

    @property
    def code(self) -> str:
        """Returns the code that names this message's texts in the catalogue: the reason of a cancel, else the occasion."""
        return (self.reason or self.occasion).value


def message_of(kind: Kind, telling: Telling) -> str:
    """Returns the folder of the templates to use, one of `MESSAGES`: the alert's kind, or `ENDED`."""
    return ENDED if telling.is_end else kind.value


THE_ALERT = Telling()  # the usual occasion: the alert itself

_ENDLESS = 1_000_000  # more characters or people than any alert has: no limit


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """How much a channel shows, in characters and people. Longer text is cut; further people are counted (`and 2 more`)."""

    named: int  # children named in the first line
    people: int  # children, persons sought and vehicles described below it, each
    name: int  # characters of one name
    place: int  # characters of the place last seen
    headline: int
    text: int  # characters of one free text; 0: the whole text, in paragraphs
    form: str  # how dates are written: long or short; a short date far from the alert includes its year
    contacts: int  # contacts shown; the first is the one in the safety line
    photo: str = ""  # size of photos; "" for none

    def boundless(self) -> Room:
        """Returns a copy without limits of characters and people; the form of dates and the photos' size stay."""
        endless: Any = dict.fromkeys(("named", "people", "name", "place", "headline", "contacts"), _ENDLESS)
        return replace(self, text=self.text and _ENDLESS, **endless)

    def for_fewer(self, children: int) -> list[Room]:
        """Returns copies that name ever fewer children, down to one; the last also halves long names and places. [] for one child."""
        rooms = [replace(self, named=named) for named in range(min(self.named, children) - 1, 0, -1)]
        return [*rooms, replace(self, named=1, name=self.name // 2, place=self.place // 2)] if children > 1 else []


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownPhoto:
    """One photo: its URL, and a description in words: "Lucía smiling", else "Photo: Lucía P."."""

    url: str
    alt: str
    caption: str  # the description with the word for a photo in front: "Photo: Lucía smiling"


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildFacts:
    """The facts of one child. An unknown fact is an empty string."""

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
    """One way for the public to answer an alert."""

    way: str  # dial, text or url
    ask: str  # "Call 116000"
    shown: str
    href: str
    label: str  # the contact's audience or purpose; empty if `ask` is enough
    countries: str  # where it works, if not in every country of the area


#: A short date is written without its year if it is at most this far from the alert's expiry.
SAME_YEAR = timedelta(days=180)


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """All facts that a template may use. An unknown fact is an empty string or tuple."""

    language: str
    direction: str
    mark: str  # the word for a test or an exercise; "" for an actual alert
    heading: str  # the mark, else the urgency, and what the alert is; or that it has ended
    safety: str
    who: str = ""
    fewer: tuple[tuple[str, str], ...] = ()  # `who` and `place` with ever fewer children named; empty for one child
    children: tuple[ChildFacts, ...] = ()
    companions: tuple[str, ...] = ()  # persons sought: "Jan K., man, tall"
    sought: tuple[str, ...] = ()  # the names in `companions`
    vehicles: tuple[str, ...] = ()  # "white van, 1234 BCD (Spain)"
    place: str = ""
    seen_at: str = ""
    headline: str = ""
    description: tuple[str, ...] = ()  # paragraphs
    instruction: tuple[str, ...] = ()
    valid_until: str = ""
    contacts: tuple[ContactFacts, ...] = ()
    url: str = ""
    why: str = ""  # why the reader gets the message
    leave: str = ""  # where to unsubscribe
    replaces: str = ""  # of an update: that it replaces the earlier message
    happened: str = ""  # of an end: the sentence that says what happened to the alert and when people were notified
    wish: str = ""  # of an end: the wish that goes with it

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the names of all people in these facts."""
        return (*(child.name for child in self.children), *(self.sought if self.companions else ()))

    def without(self, name: str) -> Facts:
        """Returns a copy in which the fact `name` is empty: of the alert, or of each child if `name` is a fact of a child."""
        if name in {field.name for field in fields(ChildFacts)}:
            return replace(self, children=tuple(_blank(child, name) for child in self.children))
        blank: Facts = _blank(self, name)
        return blank

    def values(self, name: str) -> tuple[Any, ...]:
        """Returns the fact `name` of the alert, or that of each child."""
        if name in {field.name for field in fields(ChildFacts)}:
            return tuple(getattr(child, name) for child in self.children)
        return (getattr(self, name),)


def facts_of(
    alert: Alert, words: Catalogue, room: Room, *, loudness: Loudness, url: str | None, telling: Telling,
    countries: Sequence[str], site: str,
) -> Facts:  # fmt: skip
    """Returns the facts of an alert for one channel. Raises ValueError if a missing-child alert names no contact.

    `countries` are those of its area (ISO 3166-1; empty if unknown). `site` is alertd's public address, for photo and opt-out.
    """
    case, contacts = alert.case, _contacts(alert.case.contact, words, countries)
    found = matching(words.language, alert.info)
    info = Info() if found is None else alert.info[found]
    headline = _short(info.headline or "", words, room.headline)
    common = Facts(
        language=words.language,
        direction=words.direction,
        mark=mark_of(alert, words),
        heading=_heading(alert, words, loudness, telling),
        safety=_safety(alert, words, telling.occasion, contacts),
        why=words.words["label"]["why"],
        leave=f"{site}/u/{OPT_OUT_PLACEHOLDER}" if site else "",
    )
    if telling.is_end:
        return _facts_of_end(common, alert, words, room, telling, headline)
    children, sought = case.children[: room.people], case.persons_sought[: room.people]
    return replace(
        common,
        who=_who(case.children, words, room),
        fewer=tuple(
            (_who(case.children, words, one), _place(case.last_seen, alert, words, one))
            for one in room.for_fewer(len(case.children))
        ),
        children=tuple(_child(child, words, room, site) for child in children),
        companions=tuple(_companion(person, words, room) for person in sought),
        sought=tuple(_name(person, words, room) for person in sought),
        vehicles=tuple(_vehicle(vehicle, words, room) for vehicle in case.vehicles[: room.people]),
        place=_place(case.last_seen, alert, words, room),
        seen_at="" if case.last_seen is None else _moment(case.last_seen.at, alert, words, room),
        headline=headline,
        description=paragraphs(info.description or "", room.text),
        instruction=paragraphs(info.instruction or "", room.text),
        valid_until=_moment(alert.expires, alert, words, room),
        contacts=contacts,
        url=url or "",
        replaces=words.words["update"]["replaces"] if telling.occasion is Occasion.UPDATE else "",
    )


def _facts_of_end(common: Facts, alert: Alert, words: Catalogue, room: Room, telling: Telling, headline: str) -> Facts:
    """Returns the facts for an alert's end, without any fact of a child. A general alert keeps its headline."""
    assert telling.alerted_at is not None
    return replace(
        common,
        headline=headline if alert.kind is Kind.GENERAL else "",
        happened=words.words["happened"][telling.code].format(moment=_moment(telling.alerted_at, alert, words, room)),
        wish=words.words["wish"][alert.kind],
    )


def _safety(alert: Alert, words: Catalogue, occasion: Occasion, contacts: Sequence[ContactFacts]) -> str:
    """Returns the safety line (keep away, call the first contact), "" if the occasion has none. Raises ValueError for a missing contact."""
    name = SAFETY[alert.kind].get(occasion)
    if name is None:
        return ""
    if name == "one-or-many":
        name = "one" if len(alert.case.children) == 1 else "many"
    forms = words.words["safety"][name]
    if forms.keys() == {"text"}:  # it names no contact
        return str(forms["text"])
    if not contacts:
        raise ValueError("A missing-child alert needs a contact: without one there is no safety line.")
    # The form is alertd's; the contact is data and is not parsed as a form.
    return str(forms[contacts[0].way].format(contact=contacts[0].shown))


def mark_of(alert: Alert, words: Catalogue) -> str:
    """Returns the word that marks a test or an exercise; "" for an actual alert."""
    return "" if alert.status is Status.ACTUAL else str(words.words["mark"][alert.kind.value][alert.status.value])


def _heading(alert: Alert, words: Catalogue, loudness: Loudness, telling: Telling) -> str:
    """Returns the heading: mark, "update", urgency (if loud and no test), title. Of an end: mark, and that the alert has ended."""
    mark = mark_of(alert, words)
    if telling.is_end:
        return words.joined([mark, words.words["ended"][alert.kind][telling.occasion]], "dash")
    subject = "missing-children" if len(alert.case.children) > 1 else alert.kind.value
    title = words.words["title"][subject][alert.level.value]
    urgent = words.words["loud"]["word"] if loudness is Loudness.LOUD and not mark else ""
    update = words.words["update"]["word"] if telling.occasion is Occasion.UPDATE else ""
    return words.joined([mark, update, urgent, title], "dash")


def _short(text: str, words: Catalogue, limit: int) -> str:
    """Returns a text as one line, cut to `limit` characters with an ellipsis (0: uncut), in isolates where needed."""
    text = line(text)
    return words.isolate(clip(text, limit or len(text)))


def _moment(at: datetime, alert: Alert, words: Catalogue, room: Room) -> str:
    """Returns a time in the zone of the place last seen, else of the expiry, with the year if it may be taken for another year's."""
    zone = None if alert.case.last_seen is None else alert.case.last_seen.time_zone
    far = room.form == "short" and abs(alert.expires - at) > SAME_YEAR
    return words.moment(at.astimezone(alert.expires.tzinfo), zone, form="short-with-year" if far else room.form)


def _who(children: Sequence[Child], words: Catalogue, room: Room) -> str:
    """Returns name and age of the first children (sex and age for a protected name), and the number of others: "Ana, 7, and 2 more"."""
    others = len(children) - room.named
    people = []
    for child in children[: room.named]:
        sex, age = _sex_and_age(child, words)
        people.append(words.joined([_name(child, words, room) or sex, age]))
    more = words.counted("more", others) if others > 0 else ""
    return words.joined([*people, more], "people")


def _child(child: Child, words: Catalogue, room: Room, site: str) -> ChildFacts:
    height = ""
    if child.height_cm is not None:
        low, high = child.height_cm
        shown = str(low) if low == high else f"{low}–{high}"
        height = str(words.words["height"]["text"]).format(cm=words.isolate(shown))
    sex, age = _sex_and_age(child, words)
    return ChildFacts(
        name=_name(child, words, room),
        age=age,
        sex=sex,
        height=height,
        hair=words.coded("hair", child.hair),
        eyes=words.coded("eyes", child.eyes),
        clothing=_short(text_in(child.clothing, words.language), words, room.text),
        marks=_short(text_in(child.marks, words.language), words, room.text),
        photos=tuple(_photo(photo, child, words, room, site) for photo in child.photos) if room.photo else (),
    )


def _companion(person: PersonSought, words: Catalogue, room: Room) -> str:
    """Returns a person sought in one line: name, sex, description."""
    looks = _short(text_in(person.description, words.language), words, room.text)
    return words.joined([_name(person, words, room), words.coded("person", person.sex), looks])


def _vehicle(vehicle: Vehicle, words: Catalogue, room: Room) -> str:
    """Returns a vehicle in one line: description, number plate and its country."""
    country = f" ({words.countries((vehicle.country,))})" if vehicle.country else ""
    plate = f"{_short(vehicle.plate, words, 0)}{country}" if vehicle.plate else ""
    return words.joined([_short(text_in(vehicle.description, words.language), words, room.text), plate])


def _photo(photo: Photo, child: Child, words: Catalogue, room: Room, site: str) -> ShownPhoto:
    shows = _short(text_in(photo.alt, words.language), words, 0)
    caption = words.joined([words.words["label"]["photo"], shows or _name(child, words, room)], "colon")
    return ShownPhoto(url=f"{site}/m/{photo.media}?size={room.photo}", alt=shows or caption, caption=caption)


def _name(child: Child | PersonSought, words: Catalogue, room: Room) -> str:
    """Returns the public name in the reader's script, cut to the room's limit; "" for a protected name."""
    if child.name is None:
        return ""
    return _short(text_in(child.name.scripts, words.language) or child.name.public, words, room.name)


#: Years of age. From this age on many languages use another word: nobody looks for a "little girl" of sixteen.
TEENAGER_YEARS = 13


def _sex_and_age(child: Child, words: Catalogue) -> tuple[str, str]:
    """Returns the words for sex and age (years, or months for a baby). Each is empty if unknown."""
    years, months = (child.age.years, child.age.months) if child.age else (None, None)
    sex = words.coded("sex" if years is None or years < TEENAGER_YEARS else "teenager", child.sex)
    if months is not None:
        return sex, words.counted("months", months)
    return sex, "" if years is None else words.counted("years", years)


def _place(seen: LastSeen | None, alert: Alert, words: Catalogue, room: Room) -> str:
    """Returns the place last seen, in the reader's language or else that of the place, the alert, English or any other. "" if unknown."""
    if seen is None or not seen.place:
        return ""
    local = sorted(spoken_at(seen.time_zone), key=lambda tag: tag not in map(base_language, alert.info))
    language = choose_language((words.language, *local, *alert.info, "en"), tuple(seen.place))
    return _short(seen.place[language], words, room.place)


#: Ways to answer, the preferred first: most people call; an address on the web serves everyone else; a number for texts often serves some.
_WAYS = ("dial", "url", "text")


def _contacts(contacts: Sequence[Contact], words: Catalogue, countries: Sequence[str]) -> tuple[ContactFacts, ...]:
    """Returns the contacts: first those that work in most of the area's `countries`, then by way (`_WAYS`), then those without a role."""
    found = []
    for contact in contacts:
        way = next(way for way in _WAYS if getattr(contact, way) is not None)
        value = str(getattr(contact, way)).removeprefix("sms:")
        # A link is not isolated: phones treat an adjacent direction mark as part of it.
        shown = value if way == "url" else words.isolate(value)
        missing = contact.missing_in(countries)
        facts = ContactFacts(
            way=way,
            ask=words.words["label"][way].format(contact=shown),
            shown=shown,
            href={"dial": f"tel:{value}", "text": f"sms:{value}", "url": value}[way],
            label=words.coded("role", contact.role) or (words.words["label"]["url"] if way == "url" else ""),
            countries=words.countries(contact.countries) if missing else "",
        )
        found.append((len(missing), _WAYS.index(way), contact.role is not None, facts))
    return tuple(facts for *_, facts in sorted(found, key=lambda one: one[:3]))


def _blank(record: Any, name: str) -> Any:
    return replace(record, **{name: type(getattr(record, name))()})
