"""A submitted registration of a subscriber: its JSON, its limits, and the fields that are not supported yet.

Parse it with `Registration.model_validate_json(body)` (see `fields.Document`). `subscriber` defines the stored form.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator
from pydantic.config import JsonDict

from alertd.common.errors import Fault
from alertd.model.faults import pointer_of, refusal, refuse
from alertd.model.fields import (
    CLOCK_SKEW,
    Code,
    Document,
    Form,
    Instant,
    Language,
    Line,
    Mailbox,
    PhoneNumber,
    Point,
    RegionCode,
    TimeZone,
)
from alertd.model.kinds import Kind
from alertd.model.states import folded_address
from channels.webpush_message import Subscription

#: Maximum number of places and of addresses of a subscriber: enough for a household with two homes, schools, workplaces
#: and several phones. More is a list, not a person.
MAX_PLACES = 20
MAX_ADDRESSES = 20
#: Maximum number of a subscriber's languages. A message is rendered in one of these, so a longer list has no use.
MAX_SUBSCRIBER_LANGUAGES = 10

SubscriberId = Annotated[
    str,
    Form(
        r"(?!(?:import|lookup|\.{1,2})$)[A-Za-z0-9._~-]+",  # their addresses mean all subscribers, or another place
        "A subscriber id is at most 64 of A-Z, a-z, 0-9 and . _ ~ -, and not import, lookup or dots alone.",
        64,
        "household-4711",
    ),
]
PlaceName = Annotated[str, Form(r"[a-z0-9_-]+", "A place is named by at most 32 of a-z, 0-9, _ and -.", 32, "home")]
#: The parts of a registration that a line of an import may name, if it sets only these.
Part = Annotated[
    str,
    Form(
        r"(languages|kinds|time_zone|quiet|format|groups|tester|consent|places/[a-z0-9_-]{1,32}|addresses/(push|webpush|sms|mail))",
        "A part is languages, kinds, time_zone, quiet, format, groups, tester or consent, places/ and a name, or addresses/ and a channel.",
        40,
        "places/home",
    ),
]
#: An FCM registration token. These have 140 to 200 characters today; Google warns that they may get longer.
Token = Annotated[
    str, Form(r"[\x21-\x7e]+", "A token is at most 4096 visible ASCII characters.", 4_096, "fcm:APA91bHun4MxP5egoK")
]
_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
#: A browser's push endpoint in its only accepted spelling. Parts that are not sent (a fragment, the default port, an
#: empty query) would turn one browser into several addresses, which get duplicates and bypass a suppression.
Endpoint = Annotated[
    str,
    Form(
        rf"https://({_LABEL}\.)*{_LABEL}(:(?!443/)[1-9][0-9]{{0,4}})?/[\x21\x22\x24-\x3e\x40-\x7e]*(\?[\x21\x22\x24-\x7e]+)?",
        "An endpoint is an https URL of at most 2048 visible ASCII characters, as the browser gives it.",
        2_048,
        "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABk",
    ),
]
_POINT = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"  # of RFC 8291, appendix A, as is the secret
P256dh = Annotated[
    str, Form(r"[A-Za-z0-9_-]{87}", "This is the 65 bytes of a browser's public key in base64url.", 87, _POINT)
]
Auth = Annotated[
    str,
    Form(
        r"[A-Za-z0-9_-]{22}", "This is the 16 bytes of a browser's secret in base64url.", 22, "BTBZMqHH6r4Tts7J_aSIgg"
    ),
]


def _each_once(values: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the values unchanged. Refuses values of which one is repeated."""
    if len(set(values)) != len(values):
        raise refusal("Each of these is named once.")
    return values


class PlaceDocument(Document):
    """A place of a subscriber: a point, or a region by its code.

    `at` is the time of the observation. Only the place `now` expires by it.
    """

    point: Point | None = None
    region: RegionCode | None = None
    at: Instant | None = None
    accuracy_m: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _point_or_region(self) -> Self:
        """Refuses a place with both a point and a region or with neither, and a region with an accuracy."""
        if (self.point is None) == (self.region is None):
            raise refusal("A place is either a point or a region.")
        if self.region is not None and self.accuracy_m is not None:
            refuse("PlaceDocument", [(("accuracy_m",), "Only a point has an accuracy.")])
        return self


class _AddressDocument(Document):
    """Fields of every address.

    `n` is its number in answers. Requests may contain it, so that a client can send an answer back; it has no effect,
    because channel and value identify an address.
    """

    language: Language | None = None
    n: Annotated[int, Field(ge=0, le=255, json_schema_extra={"readOnly": True})] | None = None


class PushAddress(_AddressDocument):
    """A phone with the app, by its FCM registration token."""

    channel: Literal["push"]
    token: Token

    @property
    def value(self) -> str:
        """Returns the token."""
        return self.token


class SmsAddress(_AddressDocument):
    """A phone number in international form; stored as E.164."""

    channel: Literal["sms"]
    number: PhoneNumber

    @property
    def value(self) -> str:
        """Returns the phone number."""
        return self.number


class MailAddress(_AddressDocument):
    """A mailbox; its domain is stored in lower case."""

    channel: Literal["mail"]
    mailbox: Mailbox

    @property
    def value(self) -> str:
        """Returns the mailbox."""
        return self.mailbox


class SubscriptionKeys(Document):
    """The browser's keys for encrypting messages (RFC 8291)."""

    p256dh: P256dh
    auth: Auth


class PushSubscription(Document):
    """The result of a browser's `PushSubscription.toJSON()` (W3C Push API).

    The expiry is not stored: the push service reports it.
    """

    endpoint: Endpoint
    expires: Annotated[float | None, Field(alias="expirationTime", ge=0, allow_inf_nan=False)] = None
    keys: SubscriptionKeys

    @model_validator(mode="after")
    def _can_be_sealed_for(self) -> Self:
        """Refuses a subscription with a public key that cannot encrypt messages."""
        try:
            _ = Subscription.parse(self.value).public_key
        except ValueError:
            refuse("PushSubscription", [(("keys", "p256dh"), "This is no point of the curve P-256.")])
        return self

    @property
    def value(self) -> str:
        """Returns the text form that `channels.webpush_message` parses."""
        return f"{self.endpoint} {self.keys.p256dh} {self.keys.auth}"


class WebPushAddress(_AddressDocument):
    """A browser. The endpoint identifies it, so new keys for an endpoint do not make a new address."""

    channel: Literal["webpush"]
    subscription: PushSubscription

    @property
    def value(self) -> str:
        """Returns the endpoint with its keys in the text form of `PushSubscription.value`."""
        return self.subscription.value


AddressDocument = Annotated[PushAddress | SmsAddress | MailAddress | WebPushAddress, Field(discriminator="channel")]
AnyAddress = PushAddress | SmsAddress | MailAddress | WebPushAddress

LocalTime = Annotated[str, Form(r"([01][0-9]|2[0-3]):[0-5][0-9]", "This is a time of day such as 22:00.", 5, "22:00")]


class Quiet(Document):
    """Hours in the subscriber's time zone in which only loud alerts are sent; others are deferred until their end.

    They run past midnight if they begin later than they end.
    """

    start: Annotated[LocalTime, Field(alias="from")]
    end: Annotated[LocalTime, Field(alias="to")]

    @model_validator(mode="after")
    def _is_part_of_a_day(self) -> Self:
        """Refuses quiet hours that begin and end at the same time."""
        if self.start == self.end:
            refuse("Quiet", [(("to",), "Quiet hours end at another time than they begin.")])
        return self


class ConsentDocument(Document):
    """When, where and to what the subscriber consented.

    After `withdrawn_at` nothing is sent until a later consent. The latest consent and the latest withdrawal are stored
    in any order of arrival, so an older list changes neither.
    """

    at: Instant
    source: Line
    version: Line | None = None
    purposes: Annotated[tuple[Code, ...], Field(max_length=20)] = ()
    withdrawn_at: Instant | None = None


EXAMPLE: JsonDict = {
    "languages": ["es", "en"],
    "kinds": ["missing-child"],
    "time_zone": "Europe/Madrid",
    "places": {"home": {"point": [-5.9845, 37.3891]}, "school": {"region": "41091"}},
    "addresses": [{"channel": "sms", "number": "+34600000000"}],
    "consent": {"at": "2026-01-10T12:00:00+01:00", "source": "app"},
}


class Registration(Document):
    """A person or household that asked for alerts."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    languages: Annotated[
        tuple[Language, ...],
        Field(min_length=1, max_length=MAX_SUBSCRIBER_LANGUAGES, description="The first that a message has is used"),
        AfterValidator(_each_once),
    ]
    kinds: Annotated[tuple[Kind, ...], AfterValidator(_each_once)]
    time_zone: TimeZone | None = None
    quiet: Quiet | None = None
    format: Code = "text"
    groups: Annotated[tuple[Code, ...], Field(max_length=100)] = ()
    tester: bool = False
    places: dict[PlaceName, PlaceDocument] = Field(default_factory=dict, max_length=MAX_PLACES)
    addresses: Annotated[tuple[AddressDocument, ...], Field(max_length=MAX_ADDRESSES)] = ()
    consent: ConsentDocument

    @field_validator("places")
    @classmethod
    def _now_has_a_time(cls, places: dict[str, PlaceDocument]) -> dict[str, PlaceDocument]:
        """Refuses the place `now` without the time of its observation."""
        if "now" in places and places["now"].at is None:
            refuse("Registration", [(("now", "at"), "Where someone is now needs the time it was observed.")])
        return places

    @model_validator(mode="after")
    def _quiet_has_a_zone(self) -> Self:
        """Refuses quiet hours without a time zone."""
        if self.quiet is not None and self.time_zone is None:
            refuse("Registration", [(("time_zone",), "Quiet hours need the time zone that they are in.")])
        return self

    @field_validator("addresses")
    @classmethod
    def _addresses_differ(cls, addresses: tuple[AddressDocument, ...]) -> tuple[AddressDocument, ...]:
        """Refuses two spellings of the same address."""
        seen: set[tuple[str, str]] = set()
        for index, address in enumerate(addresses):
            if _key(address) in seen:
                refuse("Registration", [((index,), "This address is listed twice.")])
            seen.add(_key(address))
        return addresses


def within(said: Registration, only: Collection[str], before: Registration) -> Registration:
    """Returns the registration `before`, with the parts in `only` (as `Part`) taken from `said`. Where `said` leaves
    out the language of an address, or fields of a consent of the same time, those of `before` stay. Raises
    ValidationError.
    """
    members = {name: getattr(said if name in only else before, name) for name in Registration.model_fields}
    if members["quiet"]:  # the browser may have set them, and they need a time zone
        members["time_zone"] = members["time_zone"] or before.time_zone
    if "consent" in only and said.consent.at.replace(microsecond=0) == before.consent.at:
        changes = {name: getattr(said.consent, name) for name in said.consent.model_fields_set}
        members["consent"] = before.consent.model_copy(update=changes)
    places = {name: place for name, place in before.places.items() if f"places/{name}" not in only}
    places |= {name: place for name, place in said.places.items() if f"places/{name}" in only}
    languages = {_key(address): address.language for address in before.addresses}
    addresses = [address for address in before.addresses if f"addresses/{address.channel}" not in only]
    addresses += [
        address.model_copy(update={"language": address.language or languages.get(_key(address))})
        for address in said.addresses
        if f"addresses/{address.channel}" in only
    ]
    return Registration.model_validate(members | {"places": places, "addresses": tuple(addresses)})


def _key(address: AnyAddress) -> tuple[str, str]:
    """Returns the identity of an address: its channel and its value, folded for comparison."""
    return address.channel, folded_address(address.channel, address.value)


#: Fields that are parsed but have no effect yet, each with its only accepted value.
NOT_YET: tuple[tuple[str, Any, str], ...] = (
    ("format", "text", "Only text is sent yet."),
    ("groups", (), "Groups are not handled yet."),
)


def not_honoured(registration: Registration) -> list[Fault]:
    """Returns a fault for each value in the registration that alertd does not support yet."""
    return [Fault(f"/{name}", why) for name, default, why in NOT_YET if getattr(registration, name) != default]


def future_faults(registration: Registration, now: datetime) -> list[Fault]:
    """Returns a fault for each time of a past event that is later than `now` (aware) plus the clock skew."""
    times: list[tuple[tuple[str, ...], datetime | None]] = [
        (("places", name, "at"), place.at) for name, place in registration.places.items()
    ]
    consent = registration.consent
    times += [(("consent", "at"), consent.at), (("consent", "withdrawn_at"), consent.withdrawn_at)]
    return [
        Fault(pointer_of(place), "This time is still to come.")
        for place, at in times
        if at is not None and at > now + CLOCK_SKEW
    ]
