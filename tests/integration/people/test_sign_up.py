"""Sign-up by mail, without a key: nothing is stored before a person confirms, and no answer tells who is signed up."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from alertd.common.clock import HOUR_MS
from alertd.model.subscriber import AddressState, wants_kind
from alertd.public.sign_up import sign_up_routes
from alertd.service.people.sign_up import PLACE_NAMES, Confirmed
from alertd.service.people.sign_up_links import Wish, new_once
from tests.integration.acts import api_of, counts, planned, send
from tests.integration.people.sign_ups import BOX, FORM, MAIL, Public, found


async def test_a_person_signs_up_gets_an_alert_and_leaves(public: Public, sample: dict[str, Any]):
    """The form stores no person, opening the link changes nothing, the button confirms, and an erased person gets no more."""
    status, page = await public.ask()
    assert (status, "Check your email" in page) == (200, True)
    assert await found(public) is None
    link = await public.link()
    for _ in range(2):
        assert (await public.get(link))[0] == 200
        assert await found(public) is None
    for _ in range(2):
        status, page = await public.post(link)
        assert (status, "You are signed up" in page) == (200, True)
    person = await found(public)
    assert person.id.startswith("web-")
    assert [place.region for place in person.places] == ["41091"]
    assert await public.parts.people.count() == 1
    assert (person.consent.source, person.consent.version) == ("web sign-up", "2026-12")

    target = {"target": {"regions": ["41091"]}}
    record = await planned(public.parts, sample, channels=["mail"], **target)
    await send(public.parts, record, "mail")
    assert await counts(public.parts, record, "mail") == {"accepted": 1}
    alerted = (await public.mails())[BOX]
    assert "Lucía" in alerted["Subject"] or "child" in alerted["Subject"].lower()

    me = "/me/" + re.search(r'href="../../me/([^"]+)"', page)[1]
    status, page = await public.post(me, action="erase")
    assert (status, await found(public)) == (200, person), "a deletion is asked for twice"
    status, page = await public.post(me, action="erase-now")
    assert (status, "deleted" in page) == (200, True)
    assert await found(public) is None
    assert (await public.post(link))[0] == 409, "an older link does not bring an erased person back"
    assert (await public.get(me))[0] == 404


async def test_the_answer_is_the_same_for_new_pending_and_subscribed_mailboxes(public: Public):
    """Byte for byte; only the mail differs."""
    await public.signed_up("subscribed@people.example")
    await public.ask("pending@people.example")
    answers = [await public.ask(f"{who}@people.example") for who in ("new", "pending", "subscribed")]
    assert answers[0] == answers[1] == answers[2]
    mails = await public.mails()
    assert mails["new@people.example"]["Subject"] == "One more tap: confirm your alerts"
    assert mails["subscribed@people.example"]["Subject"] == "You are signed up already"
    assert "/me/" in await public.link("subscribed@people.example")
    known, unknown = [
        await public.post("/subscribe/manage", mailbox=f"{who}@people.example") for who in ("subscribed", "nobody")
    ]
    assert known == unknown
    assert "nobody@people.example" not in await public.mails()


async def test_a_forged_damaged_or_old_link_confirms_nothing(public: Public):
    """A link of another purpose, a changed one, and one after 48 hours."""
    me = await public.signed_up("other@people.example")
    await public.ask()
    link = await public.link()
    broken = link[:-3] + ("AAA" if not link.endswith("AAA") else "BBB")
    for forged in (broken, link[:-1], f"/subscribe/confirm/{me.removeprefix('/me/')}", "/subscribe/confirm/x"):
        assert (await public.get(forged))[0] == 404
        assert (await public.post(forged))[0] == 404
    assert (await public.get(f"/me/{link.rpartition('/')[2]}"))[0] == 404
    public.clock.pass_by(48 * 3600)
    assert (await public.post(link))[0] == 404
    assert (await public.get(me))[0] == 404, "settings open for an hour only"
    assert await found(public) is None


async def test_a_person_who_left_is_not_signed_up_by_an_older_link_and_is_by_a_newer_one(public: Public):
    """Leaving wins over a link from before; who signs up again gets alerts again."""
    await public.signed_up()
    await public.ask()
    old = await public.link()
    await public.parts.suppression.stop([(MAIL, BOX)])
    public.clock.pass_by(60)
    assert "/me/" in old  # they were subscribed when they asked
    await public.ask()
    new = await public.link()
    assert "/subscribe/confirm/" in new
    assert (await public.post(new))[0] == 200
    assert [address.state for address in (await found(public)).addresses] == [AddressState.ACTIVE]
    public.clock.pass_by(60)
    await public.parts.suppression.stop([(MAIL, BOX)])
    assert (await public.post(new))[0] == 409
    assert [address.state for address in (await found(public)).addresses] == [AddressState.STOPPED]


async def test_who_withdrew_consent_is_signed_up_by_a_newer_link_and_not_by_an_older_one(public: Public):
    """The mail asks to confirm. The button renews the consent and adds the new place to the stored ones."""
    await public.ask()
    old = await public.link()
    await public.post(old)
    name = (await found(public)).id
    public.clock.pass_by(60)
    at = datetime.fromtimestamp(public.clock.now_ms() / 1000, UTC).isoformat()
    await public.parts.registry.patch(name, {"consent": {"withdrawn_at": at}})
    assert (await found(public)).kinds == 0
    assert (await public.post(old))[0] == 409
    assert (await found(public)).kinds == 0
    public.clock.pass_by(60)
    await public.ask(region="28079", general="1")
    new = await public.link()
    assert "/subscribe/confirm/" in new
    status, page = await public.post(new)
    assert (status, "You are signed up" in page) == (200, True)
    person = await found(public)
    assert (person.id, person.consent.withdrawn_at_s, person.consent.purposes) == (
        name,
        None,
        ("missing-child", "general"),
    )
    assert person.kinds != 0
    assert {(place.name, place.region) for place in person.places} == {("home", "41091"), ("school", "28079")}


async def test_a_person_without_room_for_a_place_learns_what_to_do(public: Public):
    """Nothing is said to be stored that is not."""
    await public.ask(region="28079")
    link = await public.link()
    await public.signed_up()
    places = {name: {"region": "41091"} for name in PLACE_NAMES}
    await public.parts.registry.patch((await found(public)).id, {"places": places})
    status, page = await public.post(link)
    assert (status, "remove one, then sign up again" in page) == (409, True)
    assert {place.region for place in (await found(public)).places} == {"41091"}


async def test_a_second_sign_up_adds_its_place_once_it_is_confirmed(public: Public):
    """The form answers as it does to a new mailbox. Language and quiet hours stay, and `home` is not replaced."""
    me = await public.signed_up()
    await public.post(
        me, action="save", language="es", **{"from": "22:00", "to": "07:00"}, zone="Europe/Madrid", general=""
    )
    before = await found(public)
    public.clock.pass_by(60)
    answers = [await public.ask(box, region="28079", general="1") for box in (BOX, "new@people.example")]
    assert answers[0] == answers[1]
    mails = await public.mails()
    assert mails[BOX]["Subject"] == mails["new@people.example"]["Subject"]
    link = await public.link()
    assert (await public.get(link))[0] == 200
    assert await found(public) == before
    for _ in range(2):
        status, page = await public.post(link)
        assert (status, "You are signed up" in page) == (200, True)
    person = await found(public)
    assert person.id == before.id
    assert {place.name: place.region for place in person.places} == {"home": "41091", "school": "28079"}
    assert (person.languages, person.quiet, person.version) == (before.languages, before.quiet, before.version + 1)
    assert wants_kind(person, "general")
    assert wants_kind(person, "missing-child")
    assert person.consent.purposes == ("missing-child", "general")
    await public.ask(region="28079")
    assert "/me/" in await public.link(), "there is nothing to add"
    assert (await found(public)).version == person.version


async def test_places_that_are_confirmed_at_the_same_moment_are_all_kept(public: Public):
    """Two links of one mailbox do not give their places the same name."""
    await public.signed_up()
    sign_up = public.parts.sign_up
    wishes = [
        Wish(
            made_s=sign_up.links.now_s(), regions=(code,), language="en", general=False, once=new_once(), mailbox=BOX
        )
        for code in ("28079", "14021", "29067")
    ]  # fmt: skip
    results = await asyncio.gather(*(sign_up.confirm(sign_up.links.make(wish)) for wish in wishes))
    assert {result for result, _ in results} == {Confirmed.DONE}
    assert {place.region for place in (await found(public)).places} == {"41091", "28079", "14021", "29067"}


async def test_a_mailbox_that_an_operator_suppressed_gets_no_mail(public: Public):
    """Not even one that asks to confirm."""
    await public.parts.suppression.hold([(MAIL, BOX)])
    await public.ask()
    assert await public.mails() == {}


async def test_a_mailbox_gets_three_mails_at_once_and_a_network_sixty_requests_an_hour(public: Public):
    """A troll can neither fill a mailbox nor tell from the answer that it is full."""
    answers = [await public.ask() for _ in range(5)]
    await public.mails()
    assert public.sandbox.mail.message_ids.total() == 3
    assert len(set(answers)) == 1
    more = [await public.ask(f"p{n}@people.example") for n in range(56)]
    assert [status for status, _ in more] == [200] * 55 + [429]
    public.clock.pass_by(HOUR_MS / 1000)


async def test_tagged_addresses_share_the_limit_of_their_mailbox(public: Public):
    """`ana+1@` is delivered to `ana@`. Dots stay, because few providers ignore them; a name may begin with the plus."""
    one = {*(f"Ana+{number}@people.example" for number in range(4)), "ana@people.example"}
    others = {"a.na@people.example", "+ana@people.example", "ana@else.example"}
    answers = [await public.ask(box) for box in [*one, *others]]
    assert len(set(answers)) == 1
    mailed = set(await public.mails())
    assert (len(mailed & one), mailed - one) == (3, others)


async def test_a_program_that_fills_in_everything_or_at_once_sends_nothing(public: Public):
    """The field that people do not see is a trap, and nobody fills the form in within two seconds."""
    trapped, honest = await public.ask(website="https://spam.example"), await public.ask("a@people.example")
    assert trapped == honest
    _, form = await public.get("/subscribe")
    fast = {"region": "41091", "mailbox": BOX, "consent": "1", "form": FORM.search(form)[1]}
    assert (await public.post("/subscribe", **fast))[0] == 422
    assert (await public.post("/subscribe", **fast | {"form": "forged"}))[0] == 422
    assert set(await public.mails()) == {"a@people.example"}


async def test_a_fault_is_named_at_its_field_and_nothing_typed_is_lost(public: Public):
    """Each fault has a sentence that the field refers to; markup in a field is text."""
    status, page = await public.ask("no mailbox", region="", place='<b>"Nowhere', consent="")
    assert status == 422
    for field in ("mailbox", "place", "consent"):
        assert f'id="{field}-fault"' in page
        assert f'aria-describedby="{field}-hint {field}-fault"' in page or f'aria-describedby="{field}-fault"' in page
    assert "&lt;b&gt;&#34;Nowhere" in page
    assert "<b>" not in page


async def test_a_name_that_several_places_have_is_asked_for_once_more(public: Public):
    """The second step offers them with what they are part of, and keeps the rest."""
    status, page = await public.ask(region="", place="Santiago")
    assert (status, page.count('type="radio"') > 1) == (200, True)
    kept = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page))
    assert kept["mailbox"] == BOX
    region = re.findall(r'type="radio" name="region" value="([^"]+)"', page)[0]
    status, page = await public.post("/subscribe", **kept, region=region)
    assert (status, "Check your email" in page) == (200, True)
    await public.post(await public.link())
    assert [place.region for place in (await found(public)).places] == [region]


@pytest.mark.parametrize(("language", "of_spain"), [("en", "Sevilla, Seville, Spain"), ("ar", "إسبانيا")])
async def test_a_place_is_named_with_what_it_is_part_of(public: Public, language: str, of_spain: str):
    """On the form, in the mail, behind its link and in the settings: two towns of the same name never look alike."""
    _, choice = await public.ask(region="", place="Buenos Aires", language=language)
    for offered in ("Buenos Aires (AR-B), Argentina", "Buenos Aires (AR-C), Argentina"):
        assert offered in choice
    await public.ask(language=language)
    text = (await public.mails())[BOX].get_body(("plain",)).get_content()
    link = await public.link()
    _, confirmation = await public.get(link)
    _, done = await public.post(link)
    me = "/me/" + re.search(r'href="../../me/([^"]+)"', done)[1]
    _, settings = await public.get(me)
    for shown in (text, confirmation, settings):
        assert of_spain in shown
    _, choice = await public.post(me, action="add", place="Buenos Aires")
    assert "(AR-C)" in choice


async def test_only_smallest_places_are_offered(public: Public):
    """The city of Sevilla and not its province of the same name: small alerts would not count for the province."""
    assert "Check your email" in (await public.ask(region="", place="Sevilla"))[1]
    await public.post(await public.link())
    assert [place.region for place in (await found(public)).places] == ["41091"]
    for wide in ("ES-SE", "ES"):
        assert (await public.ask("other@people.example", region=wide, place=""))[0] == 422


async def test_a_person_changes_places_language_kinds_and_quiet_hours(public: Public):
    """And downloads what is stored; a test message comes to their own mailbox."""
    me = await public.signed_up()
    await public.post(me, action="add", region="28079")
    await public.post(me, action="remove", name="home")
    saved = {"language": "ar", "general": "1", "from": "22:00", "to": "07:00", "zone": "Europe/Madrid"}
    status, page = await public.post(me, action="save", **saved)
    assert (status, 'dir="rtl"' in page) == (200, True) or "Saved." in page
    async with public.client.get(f"{me}/data.json") as answer:
        stored = (await answer.json())["registration"]
    assert [place["region"] for place in stored["places"].values()] == ["28079"]
    assert (stored["languages"], stored["kinds"]) == (["ar", "en"], ["missing-child", "general"])
    assert (stored["quiet"], stored["time_zone"]) == ({"from": "22:00", "to": "07:00"}, "Europe/Madrid")
    await public.post(me, action="test")
    assert "اختبار" in (await public.mails())[BOX]["Subject"]


async def test_the_store_reveals_no_mailbox_and_no_network(public: Public, redis: Redis):
    """Neither the names of its keys nor their values contain one, with fifty sign-ups, some confirmed and some waiting."""
    boxes = [f"secret{n}@people.example" for n in range(50)]
    for n, box in enumerate(boxes):
        await public.ask(box)
        if n % 10 == 0:
            await public.post(await public.link(box))
    assert await public.parts.people.count() == 5
    seen = b""
    async for key in redis.scan_iter():
        seen += key + b"\n" + (await redis.dump(key) or b"") + b"\n"
    assert len(seen) > 1_000
    for told in (b"secret", b"people.example", b"127.0.0"):
        assert told not in seen


@pytest.mark.parametrize("language", ["en", "ar"])
async def test_every_page_is_whole_in_its_language(public: Public, language: str):
    """Language and direction are set, nothing is fetched from elsewhere, and no script runs."""
    for path in ("/subscribe", "/subscribe/manage", "/privacy"):
        async with public.client.get(f"{path}?lang={language}") as answer:
            page = await answer.text()
            assert "script" not in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Robots-Tag"] == "noindex, noarchive"
            assert not answer.cookies
        assert f'<html lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}">' in page
        assert "<script" not in page
        assert "src=" not in page


async def test_a_form_that_is_no_form_or_too_large_is_refused(public: Public):
    """Strangers can send anything."""
    async with public.client.post("/subscribe", json={"mailbox": BOX}) as answer:
        assert answer.status == 415
    async with public.client.post("/subscribe", data={"place": "x" * 20_000}) as answer:
        assert answer.status == 413
    assert await asyncio.wait_for(public.parts.sign_up.queue.take(), 5) is None


async def test_closed_sign_up_has_no_pages(public: Public, aiohttp_client: Any):
    """Without the switch the form answers 404."""
    app = api_of(public.parts)
    app.add_routes(sign_up_routes(replace(public.parts.sign_up, is_open=False), public.parts.renderer, ""))
    client = await aiohttp_client(app)
    for path in ("/subscribe", "/subscribe/manage", "/me/x"):
        async with client.get(path) as answer:
            assert answer.status == 404


async def test_an_address_that_is_erased_twice_keeps_the_time_of_the_first_deletion(public: Public):
    """So a link from between the two does not turn into an older one, and a report says when the person left."""
    me = await public.signed_up()
    await public.post(me, action="erase-now")
    first_s = await public.parts.suppression.since((MAIL, BOX))
    assert first_s is not None
    public.clock.pass_by(60)
    await public.parts.suppression.stop([(MAIL, BOX)])
    assert (await public.post(me, action="erase-now"))[0] == 404
    assert await public.parts.suppression.since((MAIL, BOX)) == first_s


async def test_a_sign_up_never_replaces_a_stored_home(public: Public):
    """The mailbox's person left and comes back for another town; an organisation had registered their home as a point."""
    await public.ask(region="28079")
    early = await public.link()
    await public.signed_up()
    home = {"point": [-5.99, 37.39]}
    await public.parts.registry.patch((await found(public)).id, {"places": {"home": {**home, "region": None}}})
    before = next(place for place in (await found(public)).places if place.name == "home")
    assert (await public.post(early))[0] == 200
    after = {place.name: place for place in (await found(public)).places}
    assert after["home"] == before
    assert after["school"].region == "28079"
