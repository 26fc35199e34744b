"""A subscriber: what is taken, how it is kept, and that numbers and slots survive what they must."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from alertd.model.faults import faults_of
from alertd.model.registration import MAX_PLACES, AddressDocument, Registration, future_faults, not_honoured, within
from alertd.model.subscriber import (
    NO_SLOT,
    AddressesUsedUpError,
    AddressState,
    Subscriber,
    address_counts,
    decode,
    encode,
    from_document,
    place_flags,
    to_document,
    without_dead,
)
from geofences import records
from tests.unit.alertd.samples import SUBSCRIBER

PUSH, SMS, MAIL = SUBSCRIBER["addresses"]
ONE_ADDRESS: TypeAdapter[Any] = TypeAdapter(AddressDocument)
ENDPOINT = "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABk?x=1"
#: Of the example in RFC 8291, section 5.
P256DH, AUTH = (
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "BTBZMqHH6r4Tts7J_aSIgg",
)


def browser(endpoint: str = ENDPOINT, p256dh: str = P256DH, auth: str = AUTH) -> dict[str, Any]:
    """As `PushSubscription.toJSON()` writes it."""
    keys = {"p256dh": p256dh, "auth": auth}
    return {"channel": "webpush", "subscription": {"endpoint": endpoint, "expirationTime": None, "keys": keys}}


def read(document: Any) -> Registration:
    return Registration.model_validate_json(json.dumps(document))


def kept(document: Any, previous: Subscriber | None = None) -> Subscriber:
    return from_document(read(document), number=7, subscriber_id="household-7", previous=previous)


def pointers(document: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        read(document)
    return [fault.pointer for fault in faults_of(caught.value)]


def test_the_sample_is_taken_and_survives_being_kept() -> None:
    """What was registered can be stored, read back, shown, and sent again without changing anything but the version."""
    subscriber = kept(SUBSCRIBER)
    assert decode(encode(subscriber)) == subscriber
    assert kept(to_document(subscriber), subscriber) == msgspec.structs.replace(subscriber, version=2)


def test_addresses_are_kept_in_one_form() -> None:
    """A number becomes E.164 and a mailbox's domain lower-case ASCII, so that the same address is the same bytes."""
    mail = {"channel": "mail", "mailbox": "Ana.Lopez@Bücher.Example"}
    subscriber = kept({**SUBSCRIBER, "addresses": [{"channel": "sms", "number": "+34 (600) 00-00.00"}, mail]})
    assert [address.value for address in subscriber.addresses] == ["+34600000000", "Ana.Lopez@xn--bcher-kva.example"]


def test_a_mailbox_is_kept_at_its_own_domain_and_at_nobody_else_s() -> None:
    """In the domains of 2003 a sharp s was two; today both are registered, by different people (RFC 5894 section 7.2)."""
    mail = {"channel": "mail", "mailbox": "ana@Straße.example"}
    assert [address.value for address in kept({**SUBSCRIBER, "addresses": [mail]}).addresses] == [
        "ana@xn--strae-oqa.example"
    ]


@pytest.mark.parametrize(
    ("address", "pointer"),
    [
        ({"channel": "sms", "number": "600000000"}, "/addresses/0/number"),
        ({"channel": "sms", "number": "116000"}, "/addresses/0/number"),
        ({"channel": "sms", "number": "+999123456789"}, "/addresses/0/number"),
        ({"channel": "sms", "number": "+34600000000;ext=1"}, "/addresses/0/number"),
        ({"channel": "sms", "number": "+٣٤٦٠٠٠٠٠٠٠٠"}, "/addresses/0/number"),
        ({"channel": "mail", "mailbox": "a@b@c.example"}, "/addresses/0/mailbox"),
        ({"channel": "mail", "mailbox": "ana@localhost"}, "/addresses/0/mailbox"),
        ({"channel": "mail", "mailbox": "ana@x.example\r\nBcc: eve@x.example"}, "/addresses/0/mailbox"),
        ({"channel": "mail", "mailbox": "Ana <ana@x.example>"}, "/addresses/0/mailbox"),
        ({"channel": "mail", "mailbox": "a" * 65 + "@x.example"}, "/addresses/0/mailbox"),
        ({"channel": "mail", "mailbox": "ana@" + "a." * 10_000 + "example"}, "/addresses/0/mailbox"),
        ({"channel": "push", "token": "a b"}, "/addresses/0/token"),
        ({"channel": "push", "number": "+34600000000"}, "/addresses/0/number"),
        ({"channel": "fax", "number": "+34600000000"}, "/addresses/0/channel"),
        ({"number": "+34600000000"}, "/addresses/0/channel"),
    ],
)
def test_what_no_carrier_could_use_is_refused(address: dict[str, Any], pointer: str) -> None:
    """An address that cannot be one is a fault at its place, however it tries to be more than one."""
    assert pointer in pointers({**SUBSCRIBER, "addresses": [address]})


@pytest.mark.parametrize(
    ("places", "pointer"),
    [
        ({"home": {}}, "/places/home"),
        ({"home": {"point": [0, 0], "region": "41091"}}, "/places/home"),
        ({"home": {"point": [0, 91]}}, "/places/home/point"),
        ({"home": {"point": [0]}}, "/places/home/point/1"),
        ({"home": {"point": [float("nan"), 0]}}, "/places/home/point/0"),
        ({"home": {"region": "41091", "accuracy_m": 5}}, "/places/home/accuracy_m"),
        ({"now": {"point": [0, 0]}}, "/places/now/at"),
        ({"Grandma's": {"point": [0, 0]}}, "/places/Grandma's"),
        ({f"p{n}": {"point": [0, 0]} for n in range(21)}, "/places"),
    ],
)
def test_a_place_is_one_known_spot(places: dict[str, Any], pointer: str) -> None:
    """A place is a point on earth or a region, never both, and a present one says when."""
    assert pointers({**SUBSCRIBER, "places": places}) == [pointer]


def test_quiet_hours_are_kept_with_their_zone() -> None:
    """They come back as they were sent; without a zone, or of no length, they are a fault at their place."""
    asked = {**SUBSCRIBER, "time_zone": "Europe/Madrid", "quiet": {"from": "22:30", "to": "07:05"}}
    subscriber = kept(asked)
    assert subscriber.quiet == (22 * 60 + 30, 7 * 60 + 5)
    assert decode(encode(subscriber)) == subscriber
    assert to_document(subscriber)["quiet"] == asked["quiet"]
    assert pointers({**asked, "time_zone": None}) == ["/time_zone"]
    for of_this_machine in ("localtime", "posixrules", "right/Europe/Madrid", "Factory", "../etc/passwd"):
        assert pointers({**asked, "time_zone": of_this_machine}) == ["/time_zone"]
    assert pointers({**asked, "quiet": {"from": "22:30", "to": "22:30"}}) == ["/quiet/to"]


def test_what_is_not_honoured_yet_is_named_never_ignored() -> None:
    """Fields that are understood but do nothing yet are each a reason to refuse."""
    asked = {
        **SUBSCRIBER,
        "format": "easy",
        "groups": ["volunteers"],
    }
    assert [fault.pointer for fault in not_honoured(read(asked))] == ["/format", "/groups"]
    assert not_honoured(read(SUBSCRIBER)) == []


def test_a_browser_is_known_by_its_endpoint_and_reached_with_its_latest_keys() -> None:
    """It comes as the browser says it, is kept with its keys, and is the same address under its number when these are new."""
    asked = {**SUBSCRIBER, "addresses": [PUSH, browser()]}
    first = kept(asked)
    assert to_document(first)["addresses"][1]["subscription"] == {
        "endpoint": ENDPOINT, "keys": browser()["subscription"]["keys"]
    }  # fmt: skip
    fresh = browser(auth="B" * 21 + "A")
    again = kept({**asked, "addresses": [fresh]}, first)
    assert [address.number for address in again.addresses] == [1]
    assert to_document(again)["addresses"][0]["subscription"]["keys"] == fresh["subscription"]["keys"]
    assert pointers({**asked, "addresses": [browser(), fresh]}) == ["/addresses/1"]


@pytest.mark.parametrize(("wrong", "pointer"), [
    ({"endpoint": "http://push.example/1"}, "endpoint"),
    ({"endpoint": "https://push.example"}, "endpoint"),
    ({"endpoint": "https://me@push.example/1"}, "endpoint"),
    ({"endpoint": "https://push.example/a b"}, "endpoint"),
    ({"endpoint": "https://push.example/ñ"}, "endpoint"),
    ({"endpoint": "https://push.example/1#"}, "endpoint"),
    ({"endpoint": "https://push.example/1?"}, "endpoint"),
    ({"endpoint": "https://push.example:443/1"}, "endpoint"),
    ({"endpoint": "https://push.example:0443/1"}, "endpoint"),
    ({"endpoint": "https://push.example./1"}, "endpoint"),
    ({"endpoint": "https://a..push.example/1"}, "endpoint"),
    ({"endpoint": "https://push.example/" + "x" * 2_048}, "endpoint"),
    ({"p256dh": "B" * 87}, "keys/p256dh"),  # no point of the curve
    ({"p256dh": "B" * 86}, "keys/p256dh"),
    ({"auth": "B" * 23}, "keys/auth"),
])  # fmt: skip
def test_what_no_browser_can_be_reached_with_is_refused(wrong: dict[str, str], pointer: str) -> None:
    assert pointers({**SUBSCRIBER, "addresses": [browser(**wrong)]}) == [f"/addresses/0/subscription/{pointer}"]


def test_what_was_observed_lies_behind() -> None:
    """Nobody has been seen tomorrow: a place in the future would never grow old."""
    early = datetime(2026, 11, 24, tzinfo=UTC)
    assert [fault.pointer for fault in future_faults(read(SUBSCRIBER), early)] == ["/places/now/at"]
    left = {**SUBSCRIBER, "consent": {**SUBSCRIBER["consent"], "withdrawn_at": "2126-01-01T00:00:00Z"}}
    found = future_faults(read(left), datetime(2027, 1, 1, tzinfo=UTC))
    assert [fault.pointer for fault in found] == ["/consent/withdrawn_at"]  # no later yes would bring them back


def test_one_address_alone_is_read_the_same_way() -> None:
    """A single address has the same form and pointers as in a list."""
    assert ONE_ADDRESS.validate_json(json.dumps(SMS)).value == "+34600000000"
    with pytest.raises(ValidationError) as caught:
        ONE_ADDRESS.validate_json('{"channel": "mail", "mailbox": "x"}')
    assert [fault.pointer for fault in faults_of(caught.value)] == ["/mailbox"]


def test_a_list_writes_what_it_says_and_nothing_else() -> None:
    """A spreadsheet has columns for some of what an app registers: what it has none for stays as it was."""
    quiet = {"from": "22:00", "to": "07:00"}
    before = read({**SUBSCRIBER, "quiet": quiet, "addresses": [PUSH, SMS, MAIL, browser()]})
    consent = {"at": "2026-01-10T11:00:00Z", "source": "desk"}
    sms = {"channel": "sms", "number": "+34600000009"}
    moved = {"home": {"point": [2.17, 41.38]}, "work": {"region": "41004"}}
    document = {
        "languages": ["fr"],
        "kinds": ["general"],
        "places": moved,
        "addresses": [sms, PUSH],
        "consent": consent,
    }
    said = read(document)
    found = within(said, ("languages", "places/home", "places/school", "addresses/sms", "addresses/mail"), before)
    assert (found.languages, found.kinds) == (("fr",), before.kinds)
    assert (found.quiet, found.time_zone, found.consent) == (before.quiet, before.time_zone, before.consent)
    assert found.places == {"now": before.places["now"], "home": said.places["home"]}
    assert [address.value for address in found.addresses] == [
        *(before.addresses[n].value for n in (0, 3)), "+34600000009"
    ]  # fmt: skip


def test_a_list_leaves_what_it_cannot_say_of_what_it_says() -> None:
    """The consent that is known keeps its version and purposes, another has its own; a number keeps its language."""
    before = read({**SUBSCRIBER, "addresses": [{**SMS, "language": "ar"}]})
    for at, version in (("2026-01-10T11:00:00Z", "2026-1"), ("2026-02-10T11:00:00Z", None)):
        said = read({**SUBSCRIBER, "addresses": [SMS], "consent": {"at": at, "source": "desk"}})
        found = within(said, ("consent", "addresses/sms"), before)
        assert (found.consent.source, found.consent.version) == ("desk", version)
        assert [address.language for address in found.addresses] == ["ar"]


def test_quiet_hours_that_a_list_cannot_say_keep_the_zone_that_they_are_in() -> None:
    """An empty cell would have the whole line refused otherwise, with whatever else it says."""
    before = read({**SUBSCRIBER, "quiet": {"from": "22:00", "to": "07:00"}})
    found = within(read({**SUBSCRIBER, "time_zone": None}), ("time_zone",), before)
    assert (found.quiet, found.time_zone) == (before.quiet, before.time_zone)
    assert within(read({**SUBSCRIBER, "time_zone": None}), ("time_zone", "quiet"), before).time_zone is None


def test_what_a_list_says_has_to_fit_what_stays() -> None:
    """Nobody has a place too many."""
    many = {f"place-{n}": {"region": "41004"} for n in range(MAX_PLACES)}
    with pytest.raises(ValidationError) as caught:
        within(read(SUBSCRIBER), ("places/home",), read({**SUBSCRIBER, "places": many}))
    assert [fault.pointer for fault in faults_of(caught.value)] == ["/places"]


def test_address_numbers_stay_and_are_never_reused() -> None:
    """A number stays through every change, and dies with its address where no other comes for it."""
    first = kept({**SUBSCRIBER, "addresses": [PUSH, SMS]})
    second = kept({**SUBSCRIBER, "addresses": [SMS, MAIL]}, first)
    third = kept({**SUBSCRIBER, "addresses": [PUSH, SMS]}, second)
    assert [[address.number for address in s.addresses] for s in (first, second, third)] == [[0, 1], [1, 2], [3, 1]]
    assert (third.version, third.next_address) == (3, 4)


def test_an_address_that_comes_for_another_has_its_number() -> None:
    """What still waits for the old token goes to the new one. Not what waits for one whose owner said STOP, and each is taken over once."""
    other, new, newer = ({"channel": "push", "token": f"fresh-{n}"} for n in range(3))
    first = kept({**SUBSCRIBER, "addresses": [PUSH, other, SMS]})
    second = kept({**SUBSCRIBER, "addresses": [newer, SMS, other, new]}, first)
    assert [address.number for address in second.addresses] == [0, 2, 1, 3]
    stopped = msgspec.structs.replace(first.addresses[2], state=AddressState.STOPPED)
    left = msgspec.structs.replace(first, addresses=(*first.addresses[:2], stopped))
    third = kept({**SUBSCRIBER, "addresses": [PUSH, {"channel": "sms", "number": "+34600000009"}]}, left)
    assert [(address.number, address.state) for address in third.addresses] == [(0, 0), (3, AddressState.ACTIVE)]


def test_the_number_of_a_dead_address_waits_for_the_next_of_its_channel() -> None:
    """A carrier called the token dead before the new one came. One address has the number, and only of that channel."""
    first = kept({**SUBSCRIBER, "addresses": [PUSH, SMS]})
    dead = without_dead(first, [first.addresses[0]])
    mailed = decode(encode(kept({**SUBSCRIBER, "addresses": [SMS, MAIL]}, dead)))
    again = kept({**SUBSCRIBER, "addresses": [SMS, MAIL, PUSH, {"channel": "push", "token": "fresh"}]}, mailed)
    numbers = [[address.number for address in s.addresses] for s in (dead, mailed, again)]
    assert numbers == [[1], [1, 2], [1, 2, 0, 3]]
    assert [s.vacant for s in (dead, mailed, again)] == [((0, 0),), ((0, 0),), ()]


def test_no_number_is_given_twice_even_when_they_run_out() -> None:
    """The 257th address is refused rather than given a number that a ledger may still hold."""
    subscriber = msgspec.structs.replace(kept({**SUBSCRIBER, "addresses": []}), next_address=255)
    last = kept({**SUBSCRIBER, "addresses": [PUSH]}, subscriber)
    assert last.addresses[0].number == 255
    with pytest.raises(AddressesUsedUpError):
        kept({**SUBSCRIBER, "addresses": [PUSH, SMS]}, last)


def test_stop_outlives_an_import() -> None:
    """An address whose owner said STOP stays stopped when a register sends it again, and does not count."""
    first = kept(SUBSCRIBER)
    stopped = msgspec.structs.replace(first.addresses[1], state=AddressState.STOPPED)
    first = msgspec.structs.replace(first, addresses=(first.addresses[0], stopped, first.addresses[2]))
    second = kept(SUBSCRIBER, first)
    assert second.addresses[1].state == AddressState.STOPPED
    assert address_counts(second) == (1, 0, 0, 1)


def test_withdrawn_consent_leaves_no_kind() -> None:
    """Whoever withdrew consent belongs to the audience of nothing."""
    withdrawn = {**SUBSCRIBER["consent"], "withdrawn_at": "2026-11-01T00:00:00Z"}
    assert (kept(SUBSCRIBER).kinds, kept({**SUBSCRIBER, "consent": withdrawn}).kinds) == (1, 0)


def test_who_says_yes_again_is_told_of_what_they_were_told_of() -> None:
    """A register that reads a registration, or changes its consent alone, gives back what it was for."""
    yes, no = SUBSCRIBER["consent"], {**SUBSCRIBER["consent"], "withdrawn_at": "2026-11-01T00:00:00Z"}
    left = kept({**SUBSCRIBER, "consent": no}, kept(SUBSCRIBER))
    document = to_document(left)
    assert (left.kinds, document["kinds"]) == (0, SUBSCRIBER["kinds"])
    back = kept({**document, "consent": {**yes, "at": "2026-11-02T00:00:00Z"}}, left)
    assert (back.kinds, back.left) == (1, 0)


def test_an_older_list_brings_nobody_back_who_withdrew() -> None:
    """The yes that came before is no answer to the no: who withdrew is told again once there is a later one."""
    yes, no = SUBSCRIBER["consent"], {**SUBSCRIBER["consent"], "withdrawn_at": "2026-11-01T00:00:00Z"}
    left = kept({**SUBSCRIBER, "consent": no}, kept(SUBSCRIBER))
    for at in (yes["at"], "2026-11-01T00:00:00Z"):
        again = kept({**SUBSCRIBER, "consent": {**yes, "at": at}}, left)
        assert (again.kinds, again.consent.withdrawn_at_s) == (0, left.consent.withdrawn_at_s)
    back = kept({**SUBSCRIBER, "consent": {**yes, "at": "2026-11-01T00:00:01Z"}}, again)
    assert (back.kinds, back.consent.withdrawn_at_s) == (1, None)


@given(told=st.lists(st.tuples(st.integers(1, 5), st.none() | st.integers(1, 5)), min_size=1, max_size=4))
def test_the_latest_yes_and_the_latest_no_count_in_any_order(told: list[tuple[int, int | None]]) -> None:
    """Whichever list comes first: whoever withdrew last is away, also if an older withdrawal is told after it, and whoever said yes last is
    there, with what they said yes to then.
    """
    person = None
    for yes, no in told:
        times = {"at": f"2026-11-0{yes}T00:00:00Z", "withdrawn_at": no and f"2026-11-0{no}T00:00:00Z"}
        person = kept({**SUBSCRIBER, "consent": {**SUBSCRIBER["consent"], **times, "source": f"list {yes}"}}, person)
    assert person
    latest, left = max(yes for yes, _ in told), max((no for _, no in told if no), default=0)
    shown = to_document(person)["consent"]
    assert person.kinds == (0 if left >= latest else 1)
    assert (shown["at"], shown["source"]) == (f"2026-11-0{latest}T00:00:00Z", f"list {latest}")
    assert shown["withdrawn_at"] == (f"2026-11-0{left}T00:00:00Z" if left >= latest else None)


def test_a_place_that_has_not_moved_keeps_its_slot() -> None:
    """Only a place that moved has to be written elsewhere; a new name or a newer observation is no move."""
    places = SUBSCRIBER["places"]
    first = kept({**SUBSCRIBER, "places": {**places, "grandma": {"region": "41004"}}})
    first = msgspec.structs.replace(
        first, places=tuple(msgspec.structs.replace(place, slot=n, leaf=9) for n, place in enumerate(first.places))
    )
    later = {
        "home": {"point": [-5.98, 37.39]},
        "now": {**places["now"], "at": "2026-11-24T18:00:00Z"},
        "school": {"region": "41004"},
        "aunt": {"region": "41004"},
    }
    second = kept({**SUBSCRIBER, "places": later}, first)
    assert [(place.slot, place.leaf) for place in second.places] == [(NO_SLOT, 0), (1, 9), (NO_SLOT, 0), (3, 9)]


def test_a_late_observation_moves_nobody_back() -> None:
    """Where somebody is now is what was seen last, in whatever order it is told; a newer one counts, and so does none."""
    here, there = {"point": [-5.98, 37.39], "at": "2026-11-24T17:00:00Z"}, {"point": [2.35, 48.86]}
    first = kept({**SUBSCRIBER, "places": {"now": here}})

    def seen(at: str) -> Any:
        document = {**SUBSCRIBER, "places": {"now": {**there, "at": at}}}
        return to_document(kept(document, first))["places"]["now"]

    assert seen("2026-11-24T13:00:00Z") == here
    assert seen("2026-11-24T17:00:00Z")["point"] == there["point"]
    assert seen("2026-11-24T17:00:01Z")["point"] == there["point"]
    gone = kept({**SUBSCRIBER, "places": {}}, first)
    assert gone.places == ()
    assert (
        kept({**SUBSCRIBER, "places": {"home": {**there, "at": "2026-11-24T13:00:00Z"}}}, first).places[0].lon == 2.35
    )


def test_flags_say_what_the_tile_has_to_know() -> None:
    """The flags of a place hold its kind, age and accuracy, and the subscriber's addresses, kinds and test mark."""
    places = {**SUBSCRIBER["places"], "grandma": {"region": "41091"}}
    subscriber = kept({**SUBSCRIBER, "kinds": ["general", "missing-child"], "tester": True, "places": places})
    by_name = {place.name: place for place in subscriber.places}
    hour = int(datetime.fromisoformat(places["now"]["at"]).timestamp()) // 3_600
    assert place_flags(subscriber, by_name["now"]) == records.make_flags(
        (1, 0, 1, 1), place_kind=0, kinds=0b11, accuracy_class=1, observed_h=hour, tester=True
    )
    assert place_flags(subscriber, by_name["grandma"]) == records.make_flags(
        (1, 0, 1, 1), place_kind=4, kinds=0b11, tester=True
    )


def test_records_of_another_shape_are_refused() -> None:
    """Bytes that are no subscriber are an error, never a subscriber with gaps."""
    for record in (b"", b"\xc0", encode(kept(SUBSCRIBER))[:-3], msgspec.msgpack.encode([7, "x"])):
        with pytest.raises(msgspec.DecodeError):
            decode(record)
