"""What of an alert may be told, in the words of one language. Templates see this and nothing else.

Left out on purpose, so that no template can show it: the exact point, the case number, verification and custody, the
author, and what the case says about the child beyond what helps to recognise it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from alertd.model.alert import Alert, Info, Status
from alertd.model.case import Age, Child, Contact, LastSeen, PersonSought, Photo, Vehicle
from alertd.model.kinds import Kind, Occasion
from alertd.rendering.catalogue import Catalogue, base_language, matching, spoken_at, told_in, told_in_any
from alertd.rendering.occasions import NOWHERE, SAFETY, ChildFacts, ContactFacts, Room, ShownPhoto, Telling, Where
from alertd.rendering.plaintext import clip, line, lines
from channels.base import OWN_LEAVE, Loudness

#: A day and a month are taken for those nearest to the alert.
SAME_YEAR = timedelta(days=180)


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """All a template may use. Nothing known is an empty string or tuple."""

    language: str
    direction: str
    mark: str  # of a test or an exercise; empty = it is real
    heading: str  # the mark, else the urgency, and what the alert is; or that it has ended
    safety: str
    who: str = ""
    fewer: tuple[tuple[str, str], ...] = ()  # who and place in ever fewer words, where there are several children
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
    why: str = ""  # the reader gets it
    leave: str = ""  # where they say that they want no more
    replaces: str = ""  # of an update: that it stands for what was told before
    happened: str = ""  # of an end: the sentence that says so, and this the wish that goes with it
    wish: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all whom these facts name."""
        return (*(child.name for child in self.children), *(self.sought if self.companions else ()))

    def without(self, name: str) -> Facts:
        """The same with one fact left out, of the alert or of each child."""
        if name in {field.name for field in fields(ChildFacts)}:
            return replace(self, children=tuple(_blank(child, name) for child in self.children))
        blank: Facts = _blank(self, name)
        return blank

    def values(self, name: str) -> tuple[Any, ...]:
        """One fact of the alert, or that of each child."""
        if name in {field.name for field in fields(ChildFacts)}:
            return tuple(getattr(child, name) for child in self.children)
        return (getattr(self, name),)


def facts_of(
    alert: Alert, words: Catalogue, room: Room, *, loudness: Loudness, url: str | None, telling: Telling,
    where: Where = NOWHERE,
) -> Facts:  # fmt: skip
    """The facts of an alert for one channel. Raises `ValueError` if a missing-child alert names no contact."""
    if telling.is_end:
        return _facts_of_end(alert, words, room, telling, where)
    case, info = alert.case, _info(alert, words.language)
    children, sought = case.children[: room.people], case.persons_sought[: room.people]
    return Facts(
        language=words.language,
        direction=words.direction,
        mark=mark_of(alert, words),
        heading=_heading(alert, words, loudness, telling.occasion),
        safety=safety_line(alert, words, telling.occasion, where.countries),
        who=_who(case.children, words, room),
        fewer=tuple(
            (_who(case.children, words, one), _place(case.last_seen, alert, words, one))
            for one in room.for_fewer(len(case.children))
        ),
        children=tuple(_child(child, words, room, where.site) for child in children),
        companions=tuple(_companion(person, words, room) for person in sought),
        sought=tuple(_name(person, words, room) for person in sought),
        vehicles=tuple(_vehicle(vehicle, words, room) for vehicle in case.vehicles[: room.people]),
        place=_place(case.last_seen, alert, words, room),
        seen_at="" if case.last_seen is None else _moment(case.last_seen.at, alert, words, room),
        headline=_headline(info, words, room),
        description=_paragraphs(info.description, room),
        instruction=_paragraphs(info.instruction, room),
        valid_until=_moment(alert.expires, alert, words, room),
        contacts=tuple(_contact(contact, words, where) for contact in _by_use(case.contact, where.countries)),
        url=url or "",
        why=words.words["label"]["why"],
        leave=_leave(where),
        replaces=words.words["update"]["replaces"] if telling.occasion is Occasion.UPDATE else "",
    )


def _facts_of_end(alert: Alert, words: Catalogue, room: Room, telling: Telling, where: Where) -> Facts:
    """That an alert has ended, and of which moment it was: nothing of a child is among these facts, so no template can tell
    any of it. A general alert is known by its headline.
    """
    public, alerted = alert.kind is Kind.GENERAL, telling.alerted_at
    assert alerted is not None
    return Facts(
        language=words.language,
        direction=words.direction,
        mark=mark_of(alert, words),
        heading=words.joined([mark_of(alert, words), words.words["ended"][alert.kind][telling.occasion]], "dash"),
        safety=safety_line(alert, words, telling.occasion, where.countries),
        headline=_headline(_info(alert, words.language), words, room) if public else "",
        happened=words.words["happened"][telling.code].format(moment=_moment(alerted, alert, words, room)),
        wish=words.words["wish"][alert.kind],
        why=words.words["label"]["why"],
        leave=_leave(where),
    )


def _leave(where: Where) -> str:
    return f"{where.site}/u/{OWN_LEAVE}" if where.site else ""


def safety_line(alert: Alert, words: Catalogue, occasion: Occasion, countries: Sequence[str] = ()) -> str:
    """What everyone must be told: keep away, and whom to call in these countries. Empty where `occasions.SAFETY` has none."""
    name = SAFETY[alert.kind].get(occasion)
    if name is None:
        return ""
    if name == "one-or-many":
        name = "one" if len(alert.case.children) == 1 else "many"
    forms = words.words["safety"][name]
    if forms.keys() == {"text"}:  # it names no contact
        return str(forms["text"])
    if not alert.case.contact:
        raise ValueError("A missing-child alert needs a contact: without one there is no safety line.")
    way, value = _way(_by_use(alert.case.contact, countries)[0])
    # The form is ours; the contact is data and is not read as a form.
    return str(forms[way].format(contact=_shown(way, value, words)))


def mark_of(alert: Alert, words: Catalogue) -> str:
    """What says that it is a test or an exercise; empty where it is real."""
    if alert.status is Status.ACTUAL:
        return ""
    return str(words.words["mark"][alert.kind.value][alert.status.value])


def _heading(alert: Alert, words: Catalogue, loudness: Loudness, occasion: Occasion) -> str:
    subject = "missing-children" if len(alert.case.children) > 1 else alert.kind.value
    title = words.words["title"][subject][alert.level.value]
    mark = mark_of(alert, words)
    urgent = words.words["loud"]["word"] if loudness is Loudness.LOUD and not mark else ""
    update = words.words["update"]["word"] if occasion is Occasion.UPDATE else ""
    return words.joined([mark, update, urgent, title], "dash")


def _headline(info: Info, words: Catalogue, room: Room) -> str:
    return words.isolate(clip(line(info.headline or ""), room.headline))


def _moment(at: datetime, alert: Alert, words: Catalogue, room: Room) -> str:
    """On the clocks of the case, else on those of the sender; with its year where it may be taken for one of another year."""
    zone = None if alert.case.last_seen is None else alert.case.last_seen.time_zone
    far = room.form == "short" and abs(alert.expires - at) > SAME_YEAR
    return words.moment(at.astimezone(alert.expires.tzinfo), zone, form="short-with-year" if far else room.form)


def _who(children: Sequence[Child], words: Catalogue, room: Room) -> str:
    """Name and age of the first, and how many others there are; a child whose name is protected is told by sex and age."""
    others = len(children) - room.named
    people = [
        words.joined([_name(child, words, room) or _sex(child, words), _age(child.age, words)])
        for child in children[: room.named]
    ]
    more = words.counted("more", others) if others > 0 else ""
    return words.joined([*people, more], "people")


def _child(child: Child, words: Catalogue, room: Room, site: str) -> ChildFacts:
    height = ""
    if child.height_cm is not None:
        low, high = child.height_cm
        shown = str(low) if low == high else f"{low}–{high}"
        height = str(words.words["height"]["text"]).format(cm=words.isolate(shown))
    return ChildFacts(
        name=_name(child, words, room),
        age=_age(child.age, words),
        sex=_sex(child, words),
        height=height,
        hair=words.coded("hair", child.hair),
        eyes=words.coded("eyes", child.eyes),
        clothing=_freely(child.clothing, words, room),
        marks=_freely(child.marks, words, room),
        photos=tuple(_photo(photo, child, words, room, site) for photo in child.photos) if room.photo else (),
    )


def _freely(texts: Mapping[str, str], words: Catalogue, room: Room) -> str:
    """One line of what was written by language."""
    text = line(told_in(texts, words.language))
    return words.isolate(clip(text, room.text or len(text)))


def _companion(person: PersonSought, words: Catalogue, room: Room) -> str:
    known = [_name(person, words, room), words.coded("person", person.sex), _freely(person.description, words, room)]
    return words.joined(known)


def _vehicle(vehicle: Vehicle, words: Catalogue, room: Room) -> str:
    country = f" ({words.countries((vehicle.country,))})" if vehicle.country else ""
    plate = f"{words.isolate(line(vehicle.plate))}{country}" if vehicle.plate else ""
    return words.joined([_freely(vehicle.description, words, room), plate])


def _photo(photo: Photo, child: Child, words: Catalogue, room: Room, site: str) -> ShownPhoto:
    shows = words.isolate(line(told_in(photo.alt, words.language)))
    caption = words.joined([words.words["label"]["photo"], shows or _name(child, words, room)], "colon")
    return ShownPhoto(url=f"{site}/m/{photo.media}?size={room.photo}", alt=shows or caption, caption=caption)


def _name(child: Child | PersonSought, words: Catalogue, room: Room) -> str:
    if child.name is None:
        return ""
    name = told_in(child.name.scripts, words.language) or child.name.public
    return words.isolate(clip(line(name), room.name))


#: From this age on many languages have another word: whoever looks for a little girl passes by one of sixteen.
TEENAGER_YEARS = 13


def _sex(child: Child, words: Catalogue) -> str:
    years = child.age.years if child.age else None
    return words.coded("sex" if years is None or years < TEENAGER_YEARS else "teenager", child.sex)


def _age(age: Age | None, words: Catalogue) -> str:
    if age is None:
        return ""
    if age.months is not None:
        return words.counted("months", age.months)
    return "" if age.years is None else words.counted("years", age.years)


def _place(seen: LastSeen | None, alert: Alert, words: Catalogue, room: Room) -> str:
    if seen is None:
        return ""
    own = tuple(alert.info)
    local = sorted(spoken_at(seen.time_zone), key=lambda tag: tag not in map(base_language, own))
    place = line(told_in_any(seen.place, words.language, (*local, *own)))
    return words.isolate(clip(place, room.place))


def _info(alert: Alert, language: str) -> Info:
    found = matching(language, alert.info)
    return Info() if found is None else alert.info[found]


def _paragraphs(text: str | None, room: Room) -> tuple[str, ...]:
    """Whole paragraphs where there is room, else one short one."""
    paragraphs = lines(text or "")
    if room.text == 0 or not paragraphs:
        return paragraphs
    return (clip(" ".join(paragraphs), room.text),)


#: Most people call; an address on the web serves everyone else; a number for texts often serves some only.
_WAYS = ("dial", "url", "text")


def _way(contact: Contact) -> tuple[str, str]:
    way = next(way for way in _WAYS if getattr(contact, way) is not None)
    return way, str(getattr(contact, way)).removeprefix("sms:")


def _shown(way: str, value: str, words: Catalogue) -> str:
    """A link stands as it is: phones take a mark of direction that touches it for a part of it."""
    return value if way == "url" else words.isolate(value)


def _by_use(contacts: Sequence[Contact], countries: Sequence[str]) -> list[Contact]:
    """The one for everybody first: one that works in all of these countries, a number before an address, one without a role before
    one for some.
    """
    return sorted(
        contacts, key=lambda one: (len(one.missing_in(countries)), _WAYS.index(_way(one)[0]), one.role is not None)
    )


def _contact(contact: Contact, words: Catalogue, where: Where) -> ContactFacts:
    way, value = _way(contact)
    shown = _shown(way, value, words)
    return ContactFacts(
        ask=words.words["label"][way].format(contact=shown),
        shown=shown,
        href={"dial": f"tel:{value}", "text": f"sms:{value}", "url": value}[way],
        label=words.coded("role", contact.role) or (words.words["label"]["url"] if way == "url" else ""),
        countries=words.countries(contact.countries) if contact.missing_in(where.countries) else "",
    )


def _blank(record: Any, name: str) -> Any:
    return replace(record, **{name: type(getattr(record, name))()})
