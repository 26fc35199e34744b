"""The settings of one mailbox in a record that an organisation registered: its owner sees and changes only itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from alertd.common.errors import Problem
from alertd.model.subscriber import AddressState, to_document
from alertd.service.people.registration_intake import parse_registration
from tests.integration.people.sign_ups import BOX, MAIL, Public, found

HOUSEHOLD = {
    "languages": ["en"],
    "kinds": ["missing-child"],
    "places": {"home": {"point": [-5.99, 37.39]}, "school": {"region": "41091"}},
    "addresses": [
        {"channel": "mail", "mailbox": BOX},
        {"channel": "mail", "mailbox": "partner@people.example"},
        {"channel": "sms", "number": "+34600000017"},
    ],
    "consent": {"at": "2026-01-10T12:00:00+01:00", "source": "case system"},
}


async def household(public: Public, name: str = "household-4711", **changed: Any) -> str:
    """An organisation registers a household through the API. Answers the path behind the link that one mailbox gets."""
    await public.parts.registry.put(name, parse_registration(HOUSEHOLD | changed))
    await public.post("/subscribe/manage", mailbox=BOX)
    return await public.link()


def state_of(person: Any, mailbox: str = BOX) -> AddressState | None:
    return next((address.state for address in person.addresses if address.value == mailbox), None)


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("household-4711", HOUSEHOLD["addresses"]),
        ("case-system-1", HOUSEHOLD["addresses"][:1]),
        ("web-shared", HOUSEHOLD["addresses"][:2]),
    ],
)
async def test_a_mailbox_of_a_record_of_others_sees_and_changes_only_itself(
    public: Public, name: str, addresses: list[dict[str, str]]
):
    """The places, the other addresses and the record stay with the organisation that registered them."""
    me = await household(public, name, addresses=addresses)
    before = await found(public)
    status, page = await public.get(me)
    assert (status, BOX in page, "An organisation" in page) == (200, True, True)
    async with public.client.get(f"{me}/data.json") as answer:
        stored = await answer.text()
    assert json.loads(stored) == {"registration": {"addresses": [{"n": 0, **addresses[0]}]}}
    for secret in ("partner@", "+3460", "Sevilla", "school", "37.39"):
        assert secret not in page
        assert secret not in stored
    for fields in (
        {"action": "add", "region": "28079"}, {"action": "remove", "name": "home"}, {"action": "test"},
        {"action": "save", "language": "es", "general": "1"}, {"action": "erase"},
    ):  # fmt: skip
        assert (await public.post(me, **fields))[0] == 200
        assert await found(public) == before
    status, page = await public.post(me, action="off")
    assert (status, "No more alerts are sent to this address" in page) == (200, True)
    others = [(one.value, AddressState.ACTIVE) for one in before.addresses[1:]]
    assert state_of(await found(public)) == AddressState.STOPPED
    assert [(one.value, one.state) for one in (await found(public)).addresses[1:]] == others
    status, page = await public.post(me, action="on")
    assert (status, "This address gets alerts" in page) == (200, True)
    assert state_of(await found(public)) == AddressState.ACTIVE

    status, page = await public.post(me, action="erase-now")
    assert (status, "deleted" in page) == (200, True)
    assert await found(public) is None
    rest = await public.parts.registry.get(name)
    assert [(one.value, one.state) for one in rest.addresses] == others
    assert to_document(rest)["places"] == to_document(before)["places"]
    assert (await public.get(me))[0] == 404
    await public.parts.registry.put(name, parse_registration(HOUSEHOLD | {"addresses": addresses}))
    assert state_of(await found(public)) == AddressState.STOPPED, "the organisation's next import does not undo it"


async def test_a_mailbox_that_an_operator_blocked_or_that_gets_nothing_is_not_switched_on(public: Public):
    """The page offers nothing that has no effect."""
    me = await household(public)
    await public.parts.suppression.hold([(MAIL, BOX)])
    status, page = await public.post(me, action="on")
    assert (status, "has blocked this address" in page, 'value="on"' in page) == (200, True, False)
    assert state_of(await found(public)) == AddressState.STOPPED
    await public.parts.suppression.lift([(MAIL, BOX)])
    consent = HOUSEHOLD["consent"] | {"withdrawn_at": "2026-02-01T12:00:00+01:00"}
    await public.parts.registry.patch("household-4711", {"consent": consent})
    status, page = await public.get(me)
    assert ("This address gets alerts" in page, 'value="on"' in page) == (False, False)


async def test_a_link_opens_nothing_once_its_mailbox_is_no_longer_in_the_record(public: Public):
    """Neither the new owner's data, nor the old mailbox in another record."""
    me = await public.signed_up()
    person = await found(public)
    await public.parts.registry.patch(person.id, {"addresses": [{"channel": "mail", "mailbox": "new@people.example"}]})
    assert (await public.get(me))[0] == 404
    assert (await public.post(me, action="erase-now"))[0] == 404
    async with public.client.get(f"{me}/data.json") as answer:
        assert answer.status == 404
    await household(public)
    assert (await public.get(me))[0] == 404
    assert (await public.parts.registry.get(person.id)).version == person.version + 1


async def test_a_link_does_not_replace_a_record_that_its_mailbox_left(public: Public):
    """The record that the link made belongs to another mailbox now."""
    await public.ask()
    link = await public.link()
    await public.post(link)
    name = (await found(public)).id
    theirs = {"addresses": HOUSEHOLD["addresses"][1:], "places": {"school": {"region": "28079"}}}
    version = (await public.parts.registry.patch(name, theirs)).version
    assert (await public.post(link))[0] == 404
    assert (await public.parts.registry.get(name)).version == version
    assert await found(public) is None


async def test_a_record_that_others_joined_meanwhile_is_neither_deleted_nor_changed(public: Public):
    """An organisation adds an address between the check of a link and the change."""
    me = await public.signed_up()
    sign_up = public.parts.sign_up
    own = await sign_up.opened(me.removeprefix("/me/"))
    added = [*to_document(own.person)["addresses"], {"channel": "sms", "number": "+34600000017"}]
    await public.parts.registry.patch(own.person.id, {"addresses": added})
    with pytest.raises(Problem):
        await sign_up.change(own, {"places": {"home": None}})
    await sign_up.erase(own)
    rest = await public.parts.registry.get(own.person.id)
    assert [one.value for one in rest.addresses] == ["+34600000017"]
    assert [place.name for place in rest.places] == ["home"]


async def test_a_sign_up_adds_nothing_to_a_record_of_others(public: Public):
    """The mailbox gets a link to its own settings; a link from before the organisation registered it says who decides."""
    await public.ask(region="28079")
    early = await public.link()
    await household(public)
    before = await found(public)
    answers = [await public.ask(box, region="28079") for box in (BOX, "new@people.example")]
    assert answers[0] == answers[1]
    assert "/me/" in await public.link()
    status, page = await public.post(early)
    assert (status, "An organisation" in page, "This link does not work" in page) == (409, True, False)
    assert await found(public) == before
