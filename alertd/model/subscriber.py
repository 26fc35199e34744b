"""The stored form of a subscriber: a compact record, authoritative for places and addresses.

Fields are stored by position (`array_like`). Add new ones at the end with a default; never remove or reorder one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from enum import IntEnum
from operator import attrgetter
from typing import Any

import msgspec
from msgspec.structs import replace

from alertd.model import quiet_hours as quiet
from alertd.model.kinds import Channel, PlaceKind
from alertd.model.registration import AddressDocument, ConsentDocument, PlaceDocument, Registration
from alertd.model.states import CHANNELS, KINDS, PLACE_KINDS, folded_address
from geofences import records, tiles

#: The highest number of an address. A ledger row has one byte for the number, and numbers are not reused.
MAX_ADDRESS_NUMBER = 255

#: The value of `slot` for a place that is not stored in a tile or region yet.
NO_SLOT = -1

#: The member of a document that holds an address, by channel in the order of the wire numbers.
_VALUE_NAMES = ("token", "subscription", "number", "mailbox")


#: The number and channel of a removed address, kept for its replacement.
Vacancy = tuple[int, int]


class AddressState(IntEnum):
    """Whether an address may be used."""

    ACTIVE = 0
    STOPPED = 1  # the owner sent STOP; only the owner can undo it


class AddressesUsedUpError(ValueError):
    """A subscriber has had 256 addresses, so no number is left for a new one."""


class Place(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """One place. For a region, `lon`, `lat`, `tile`, `x` and `y` are 0.

    `slot` is the expected position of the place's record in its tile or region; it may be out of date. The process that
    has the region library sets `leaf`.
    """

    name: str
    kind: int  # index in states.PLACE_KINDS
    lon: float  # degrees, WGS 84
    lat: float
    region: str | None  # a code, if the place is a region
    at_s: int  # UNIX seconds of the observation, 0 if unknown. `seen_s` defines its use
    accuracy_m: float | None
    tile: int  # z12 Morton code
    x: int  # inside the tile
    y: int
    slot: int = NO_SLOT  # in its tile or region
    leaf: int = 0  # number of the smallest region around the point, or of the region itself; 0 is none


#: Identity of an address: the channel, as its index in `states.CHANNELS`, and the value in the form for comparison.
Key = tuple[int, str]


def key_of(channel: int, value: str) -> Key:
    """Returns the identity of an address: its channel and its value, folded for comparison."""
    return channel, folded_address(CHANNELS[channel], value)


class Address(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """One address.

    The number of an address is never given to another channel. It is reused only for a replacement on the same channel,
    for which the number of a dead address is kept.
    """

    number: int
    channel: int  # index in states.CHANNELS
    value: str  # secret: token, E.164 number, mailbox, endpoint with its keys
    language: str | None
    state: int = AddressState.ACTIVE

    @property
    def key(self) -> Key:
        """Returns the identity of the address, equal for spellings of the same address."""
        return key_of(self.channel, self.value)


class Consent(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """A consent; times are UNIX seconds."""

    at_s: int
    source: str
    version: str | None
    purposes: tuple[str, ...]
    withdrawn_at_s: int | None


class Subscriber(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """One subscriber with all of the subscriber's data."""

    number: int
    id: str
    version: int  # goes up by one with every change
    languages: tuple[str, ...]
    kinds: int  # bit n stands for states.KINDS[n]; 0 once consent is withdrawn
    tester: bool
    time_zone: str | None
    places: tuple[Place, ...]
    addresses: tuple[Address, ...]
    next_address: int
    consent: Consent
    quiet: tuple[int, int] | None = None  # start and end of quiet hours: minutes of the day in their time zone
    vacant: tuple[Vacancy, ...] = ()  # of addresses that a carrier reported as dead
    left: int = 0  # the kinds before consent was withdrawn, which apply again after a new consent


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Subscriber)


def encode(subscriber: Subscriber) -> bytes:
    """Returns a record as MessagePack. It contains addresses in clear: encrypt it before storing."""
    return _encoder.encode(subscriber)


def decode(record: bytes) -> Subscriber:
    """Returns the record that `encode` made these bytes of. Raises `msgspec.DecodeError` for anything else."""
    return _decoder.decode(record)


def from_document(
    document: Registration, *, number: int, subscriber_id: str, previous: Subscriber | None = None
) -> Subscriber:
    """Returns the record of a registration, based on `previous` if there is one.

    A known address keeps its number and state. A new one gets the number of an active address on its channel that this
    registration removes, or of a dead one, so that its queued messages go to the new address. Otherwise it gets the
    next number. A place that has not moved keeps its slot. Raises `AddressesUsedUpError`.
    """
    addresses, next_address, vacant = _addresses(document.addresses, previous)
    consent = _consent(document.consent, previous.consent if previous else None)
    kinds, is_withdrawn = kind_bits(document.kinds), consent.withdrawn_at_s is not None
    return Subscriber(
        number=number,
        id=subscriber_id,
        version=1 if previous is None else previous.version + 1,
        languages=document.languages,
        kinds=0 if is_withdrawn else kinds,
        tester=document.tester,
        time_zone=document.time_zone,
        places=_places(document.places, () if previous is None else previous.places),
        addresses=addresses,
        next_address=next_address,
        consent=consent,
        quiet=(quiet.minutes(document.quiet.start), quiet.minutes(document.quiet.end)) if document.quiet else None,
        vacant=vacant,
        left=kinds if is_withdrawn else 0,
    )


def to_document(subscriber: Subscriber) -> dict[str, Any]:
    """Returns the subscriber's registration as JSON values, times in UTC. Each address includes its number as `n`."""
    consent, kinds = subscriber.consent, subscriber.kinds or subscriber.left
    return {
        "languages": list(subscriber.languages),
        "kinds": [kind for bit, kind in enumerate(KINDS) if kinds >> bit & 1],
        "time_zone": subscriber.time_zone,
        "quiet": subscriber.quiet and dict(zip(("from", "to"), map(quiet.clock, subscriber.quiet), strict=True)),
        "format": "text",
        "groups": [],
        "tester": subscriber.tester,
        "places": {place.name: _place_document(place) for place in subscriber.places},
        "addresses": [_address_document(address) for address in subscriber.addresses],
        "consent": {
            "at": _rfc_3339(consent.at_s),
            "source": consent.source,
            "version": consent.version,
            "purposes": list(consent.purposes),
            "withdrawn_at": None if consent.withdrawn_at_s is None else _rfc_3339(consent.withdrawn_at_s),
        },
    }


def wants_kind(person: Subscriber, kind: str) -> bool:
    """Returns whether the subscriber wants alerts of this kind."""
    return bool(person.kinds >> KINDS.index(kind) & 1)


def kind_bits(kinds: Iterable[str]) -> int:
    """Returns the kinds of alert as bits, as records and tiles store them."""
    return sum(1 << KINDS.index(kind) for kind in kinds)


def address_counts(subscriber: Subscriber) -> tuple[int, ...]:
    """Returns the number of active addresses on each channel, in the order of the channels."""
    usable = [address.channel for address in subscriber.addresses if address.state == AddressState.ACTIVE]
    return tuple(usable.count(channel) for channel in range(len(CHANNELS)))


def seen_s(place: Place) -> int | None:
    """Returns when a `now` position was observed (UNIX seconds), or None for other places, which do not expire."""
    return place.at_s if PLACE_KINDS[place.kind] == PlaceKind.NOW else None


def without_past(subscriber: Subscriber, since_s: int) -> Subscriber:
    """Returns the record without `now` positions observed before that time (UNIX seconds)."""
    times = map(seen_s, subscriber.places)
    lasting = [place for place, at_s in zip(subscriber.places, times, strict=True) if at_s is None or at_s >= since_s]
    return replace(subscriber, places=tuple(lasting))


def place_flags(subscriber: Subscriber, place: Place) -> int:
    """Returns the 32 flag bits that the record of a place has in its tile or region."""
    at_s = seen_s(place)
    return records.make_flags(
        address_counts(subscriber),
        place_kind=place.kind,
        kinds=subscriber.kinds,
        accuracy_class=records.accuracy_class(place.accuracy_m),
        observed_h=None if at_s is None else at_s // 3_600,
        tester=subscriber.tester,
    )


def place_kind(name: str) -> int:
    """Returns the number of the kind of a place with this name. A name that is no kind counts as `other`."""
    return PLACE_KINDS.index(name if name in PLACE_KINDS else "other")


def without_dead(subscriber: Subscriber, dead: Collection[Address]) -> Subscriber:
    """Returns the next version of a record, without the dead addresses. It keeps their numbers as vacant: a new address
    of the same channel gets such a number.
    """
    kept = tuple(address for address in subscriber.addresses if address not in dead)
    vacant = (*subscriber.vacant, *((address.number, address.channel) for address in dead))
    return replace(subscriber, version=subscriber.version + 1, addresses=kept, vacant=vacant)


def _addresses(
    documents: Iterable[AddressDocument], previous: Subscriber | None
) -> tuple[tuple[Address, ...], int, tuple[Vacancy, ...]]:
    """Returns the addresses of a registration with their numbers, the next unused number, and the numbers of dead
    addresses that still wait for a replacement. Raises `AddressesUsedUpError`.
    """
    documents, old = list(documents), previous.addresses if previous else ()
    wanted = [key_of(CHANNELS.index(one.channel), one.value) for one in documents]
    known = {
        a.key: a for a in sorted(old, key=attrgetter("state"))
    }  # of two records of one address, a stopped one wins
    going = [a for a in old if a.key not in set(wanted) and a.state == AddressState.ACTIVE]
    vacant = previous.vacant if previous else ()
    free: list[Vacancy] = [*((a.number, a.channel) for a in going), *vacant]
    following = previous.next_address if previous else 0
    result = []
    for document, key in zip(documents, wanted, strict=True):
        before, channel = known.get(key), key[0]
        taken = None if before else next((one for one in free if one[1] == channel), None)
        if taken:
            free.remove(taken)
        number = before.number if before else taken[0] if taken else following
        following += number == following
        state = AddressState.ACTIVE if before is None else before.state
        result.append(
            Address(number=number, channel=channel, value=document.value, language=document.language, state=state)
        )
    if following > MAX_ADDRESS_NUMBER + 1:
        raise AddressesUsedUpError("This subscriber has had 256 addresses. Forget it and register anew.")
    return tuple(result), following, tuple(one for one in vacant if one in free)


def _places(documents: dict[str, PlaceDocument], previous: tuple[Place, ...]) -> tuple[Place, ...]:
    """Returns the places of a registration in order. A place that has not moved keeps its leaf and slot, even under a
    new name.

    For `now` the latest observation counts: an older one that arrives late changes nothing.
    """
    known = {_spot(place): place for place in previous}
    seen = {place.name: place for place in previous if place.name == PlaceKind.NOW}
    places = [_place(name, document) for name, document in documents.items()]
    places = [_latest(place, seen.get(place.name)) for place in places]
    stayed = [known.get(_spot(place), place) for place in places]
    return tuple(
        replace(place, leaf=before.leaf, slot=before.slot) for place, before in zip(places, stayed, strict=True)
    )


def _latest(place: Place, before: Place | None) -> Place:
    """Returns `before` if it was observed later than `place`, otherwise `place`."""
    return before if before and before.at_s > place.at_s else place


def _spot(place: Place) -> tuple[Any, ...]:
    """Returns the fields that stay equal while a place does not move: its kind, region, tile and point in the tile."""
    return place.kind, place.region, place.tile, place.x, place.y


def _place(name: str, document: PlaceDocument) -> Place:
    """Returns the stored form of a place of a registration, still without its leaf region and slot."""
    lon, lat = document.point or (0.0, 0.0)
    tile = x = y = 0
    if document.point is not None:
        tile, x, y = tiles.locate_one(lon, lat)
    return Place(
        name=name,
        kind=place_kind(name),
        lon=lon,
        lat=lat,
        region=document.region,
        at_s=0 if document.at is None else _unix_s(document.at),
        accuracy_m=document.accuracy_m,
        tile=tile,
        x=x,
        y=y,
    )


def _consent(document: ConsentDocument, previous: Consent | None) -> Consent:
    """Returns the latest consent and the latest withdrawal, of the registration and the stored record together. A
    withdrawal counts if it is as late as that consent or later; otherwise the person consents.
    """
    said = Consent(
        at_s=_unix_s(document.at),
        source=document.source,
        version=document.version,
        purposes=document.purposes,
        withdrawn_at_s=None if document.withdrawn_at is None else _unix_s(document.withdrawn_at),
    )
    known = [said, *([previous] if previous else [])]
    yes = max(known, key=lambda one: one.at_s)
    no_s = max((one.withdrawn_at_s for one in known if one.withdrawn_at_s is not None), default=None)
    return replace(yes, withdrawn_at_s=None if no_s is None or no_s < yes.at_s else no_s)


def _place_document(place: Place) -> dict[str, Any]:
    """Returns a place in the form of a registration."""
    shown: dict[str, Any] = {"region": place.region} if place.region else {"point": [place.lon, place.lat]}
    if place.at_s:
        shown["at"] = _rfc_3339(place.at_s)
    if place.accuracy_m is not None:
        shown["accuracy_m"] = place.accuracy_m
    return shown


def _address_document(address: Address) -> dict[str, Any]:
    """Returns an address in the form of a registration, with its number as `n`."""
    shown: dict[str, Any] = {
        "n": address.number,
        "channel": CHANNELS[address.channel],
        _VALUE_NAMES[address.channel]: _shown(address),
    }
    return shown if address.language is None else {**shown, "language": address.language}


def _shown(address: Address) -> str | dict[str, Any]:
    """Returns the value of an address in the form of a registration."""
    if CHANNELS[address.channel] != Channel.WEBPUSH:
        return address.value
    endpoint, p256dh, auth = address.value.split(" ")
    return {"endpoint": endpoint, "keys": {"p256dh": p256dh, "auth": auth}}


def _unix_s(time: datetime) -> int:
    """Returns a time in whole UNIX seconds, rounded down."""
    return math.floor(time.timestamp())


def _rfc_3339(seconds: int) -> str:
    """Returns a time given in UNIX seconds as RFC 3339 text in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
