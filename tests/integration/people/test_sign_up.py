"""Sign-up by mail, without a key: nothing is stored before a person confirms, and no answer tells who is signed up."""

from __future__ import annotations

import asyncio
import email
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from email import policy
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from redis.asyncio import Redis

from alertd.common.clock import HOUR_MS
from alertd.config.sections import PublicSection
from alertd.model.states import CHANNELS
from alertd.model.subscriber import AddressState
from alertd.public.sign_up import sign_up_routes
from alertd.rendering import Renderer
from alertd.runtime.assembly import opened
from alertd.service.container import Container
from alertd.store.engine import keys
from alertd.store.engine.codec import Codec
from channels.sandbox import Sandbox
from geofences.regions import Library
from tests.clocks import Later
from tests.integration.acts import api_of, counts, planned, send
from tests.integration.conftest import settings_for

MAIL = CHANNELS.index("mail")
BOX = "Ana.Reyes@people.example"
LINK = re.compile(r"http://127\.0\.0\.1:8080(/(?:subscribe/confirm|me)/[A-Za-z0-9_-]+)")
FORM = re.compile(r'name="form" value="([^"]+)"')


@dataclass
class Public:
    """The public side of an installation, and what its relay took."""

    parts: Container
    client: TestClient
    sandbox: Sandbox
    clock: Later

    async def get(self, path: str, language: str = "en") -> tuple[int, str]:
        async with self.client.get(path, headers={"Accept-Language": language}) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, **fields: str) -> tuple[int, str]:
        async with self.client.post(path, data=fields, headers={"Accept-Language": "en"}) as answer:
            return answer.status, await answer.text()

    async def ask(self, mailbox: str = BOX, **fields: str) -> tuple[int, str]:
        """Fill in the form as a person does, and press its button."""
        _, form = await self.get("/subscribe")
        self.clock.pass_by(5)
        said = {"place": "Sevilla", "region": "41091", "mailbox": mailbox, "consent": "1", "form": FORM.search(form)[1]}
        return await self.post("/subscribe", **(said | fields))

    async def mails(self) -> dict[str, Any]:
        """Let a worker send what waits. Answers the last mail of each mailbox."""
        while await self.parts.db.execute("LLEN", keys.SIGN_UPS):
            await self.parts.sign_up_mails.round(lambda _: True)
            await self.parts.sign_up_mails.settled()
        kept = self.sandbox.mail.mails or {}
        return {to: email.message_from_bytes(raw, policy=policy.default) for to, raw in kept.items()}

    async def link(self, mailbox: str = BOX) -> str:
        """The path that the last mail of a mailbox leads to."""
        text = (await self.mails())[mailbox].get_body(("plain",)).get_content()
        return LINK.search(text)[1]

    async def signed_up(self, mailbox: str = BOX) -> str:
        """Sign up and confirm. Answers the path of the person's own settings."""
        await self.ask(mailbox)
        _, page = await self.post(await self.link(mailbox))
        return "/me/" + re.search(r'href="../../me/([^"]+)"', page)[1]


@pytest.fixture
async def public(
    redis: Redis, codec: Codec, sandbox: Sandbox, library: Library, renderer: Renderer, aiohttp_client: Any
) -> AsyncIterator[Public]:
    settings = settings_for(sandbox).model_copy(update={"public": PublicSection(sign_up=True)})
    sandbox.mail.mails = {}
    clock = Later()
    async with opened(settings, redis, codec, library=library, renderer=renderer) as made:
        parts = replace(made, library=library, clock=clock)
        app = api_of(parts)
        app.add_routes(sign_up_routes(parts.sign_up, parts.renderer, ""))
        yield Public(parts, await aiohttp_client(app), sandbox, clock)
        await parts.sign_up_mails.close()


async def found(public: Public, mailbox: str = BOX) -> Any:
    return await public.parts.registry.lookup(MAIL, mailbox)


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
