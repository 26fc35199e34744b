"""An organisation's own texts over a real store and real carriers: kept when they pass, told to the end as they were submitted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from alertd.common.errors import Problem
from alertd.rendering.own_texts import TextPlace
from alertd.service.container import Container
from alertd.service.delivery.message_cache import MessageCache
from alertd.service.messages.texts import Texts
from alertd.store.delivery.work_records import BatchKey
from alertd.store.engine import keys
from alertd.store.organisations.organisations import TextStore
from channels.sandbox import Sandbox
from tests.integration.acts import ANA, BEA, counts, planned, register, send, submitted

TITLE = TextPlace("missing-child", "push", "es", "title")
BODY = TextPlace("missing-child", "push", "es", "body")


async def told(parts: Container, alert_id: str) -> bytes:
    """The push as its carrier takes it, made by a worker that had nothing in memory."""
    fresh = MessageCache(parts.alerts, parts.renderer, Texts(TextStore(parts.db), parts.renderer), parts.clock)
    ready = await fresh.ready(alert_id, BatchKey(channel="push", language="es"), parts.carriers.of("push")[0])
    return b"".join(ready.prepared.payload.pieces)


async def test_an_alert_is_told_to_its_end_in_the_words_it_was_submitted_with(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """What is changed or removed after its approval serves the next alerts, whichever worker sends."""
    await register(parts, 20)
    await parts.texts.put("default", TITLE, "First: {{ who }}")
    first = await planned(parts, sample)
    await parts.texts.put("default", TITLE, "Second: {{ who }}")
    second = await planned(parts, sample)
    await parts.texts.put("default", TITLE, "Third: {{ who }}")
    third = await planned(parts, sample)
    await parts.texts.drop("default", TITLE)
    usual = await planned(parts, sample)
    assert [record.texts for record in (first, second, third, usual)] == [1, 2, 3, 4]
    assert b"First: Luc" in await told(parts, first.id)
    assert b"Second: Luc" in await told(parts, second.id)
    assert b"Third: Luc" in await told(parts, third.id)
    assert b"menor en peligro: Luc" in await told(parts, usual.id)
    assert await send(parts, second)
    assert await counts(parts, second) == {"accepted": 20}
    assert sandbox.push.recorded.counts()["doubled"] == 0


async def test_nobody_approves_words_that_were_changed_after_the_submission(parts: Container, sample: dict[str, Any]):
    """The second person may have read the others. It goes back to its author, and out in the words it was submitted with then."""
    await register(parts, 20)
    taken = await submitted(parts, sample)
    await parts.texts.put("default", TITLE, "Changed: {{ who }}")
    with pytest.raises(Problem) as caught:
        await parts.approval.approve(taken.record.id, BEA)
    assert caught.value.slug == "approval-stale"
    await parts.approval.give_back(taken.record.id, BEA, "Other words")
    await parts.approval.submit(taken.record.id, ANA)
    approved = await parts.approval.approve(taken.record.id, BEA)
    assert approved.texts == 1
    assert b"Changed: Luc" in await told(parts, approved.id)


async def test_texts_that_cannot_be_read_leave_the_usual_words(parts: Container, sample: dict[str, Any]):
    """A revision that is damaged, or one text of it that was taken under other rules: nobody is left untold."""
    store = TextStore(parts.db)
    await register(parts, 20)
    assert await store.add("default", [(TITLE, "{% for a in who %}{% endfor %}"), (BODY, "Own: {{ who }}")], after=0)
    mixed = await planned(parts, sample)
    text = await told(parts, mixed.id)
    assert b"menor en peligro: Luc" in text
    assert b"Own: Luc" in text
    await parts.db.execute("HSET", keys.org("default", "texts"), 1, b"damaged")
    assert b"Own: Luc" not in await told(parts, mixed.id)
    await parts.db.execute("DEL", keys.org("default", "texts"))
    assert b"menor en peligro: Luc" in await told(parts, mixed.id)


async def test_nobody_puts_words_into_a_mouth_by_way_of_the_store(parts: Container):
    """A revision is sealed to its organisation and number: another's, or an older one in its place, does not open."""
    store = TextStore(parts.db)
    await store.add("default", [(TITLE, "One {{ who }}")], after=0)
    await store.add("default", [(TITLE, "Two {{ who }}")], after=1)
    name = keys.org("default", "texts")
    raw = await parts.db.hash_of(name)
    assert b"One" not in b"".join(raw.values())
    await parts.db.execute("HSET", name, 2, raw[b"1"])
    assert await parts.texts.of("default", 2) == {}
    await parts.db.execute("HSET", keys.org("other", "texts"), 1, raw[b"1"])
    assert await parts.texts.of("other", 1) == {}


async def test_two_who_change_texts_at_once_both_have_theirs(parts: Container):
    """Each change is made upon the other; whoever named the revision they saw is refused when it is no longer the latest; the same
    words again are no change.
    """
    texts = parts.texts
    await asyncio.gather(texts.put("default", TITLE, "One {{ who }}"), texts.put("default", BODY, "Two {{ who }}"))
    assert await texts.listed("default") == (2, {TITLE: "One {{ who }}", BODY: "Two {{ who }}"})
    assert await texts.put("default", TITLE, "Three {{ who }}", rev=2) == 3
    assert await texts.put("default", TITLE, "Three {{ who }}") == 3
    for late in (texts.put("default", TITLE, "Four {{ who }}", rev=2), texts.drop("default", BODY, rev=1)):
        with pytest.raises(Problem, match="changed since"):
            await late
    assert (await texts.listed("default"))[0] == 3


async def test_a_text_is_of_one_organisation(parts: Container):
    """What another says changes nothing here."""
    await parts.texts.put("other", TITLE, "Other: {{ who }}")
    assert await parts.texts.latest("default") == {}
    assert list(await parts.texts.latest("other")) == [TITLE]


async def test_a_title_is_tried_together_with_its_body(parts: Container):
    """They share the room of one push: each may fit with the usual words and not with the other."""
    await parts.texts.put("default", BODY, "{{ who }} " + "word " * 120)
    with pytest.raises(Problem) as refused:
        await parts.texts.put("default", TITLE, "{{ who }} " + "word " * 120)
    assert refused.value.slug == "message-impossible"
    assert "1000 bytes" in refused.value.faults[0].detail
    assert list(await parts.texts.latest("default")) == [BODY]


async def test_a_dry_run_answers_the_revision_there_would_be(parts: Container):
    """The next one, or the same where nothing would change; refused where the texts were changed since; and nothing is kept."""
    assert await parts.texts.put("default", TITLE, "Own: {{ who }}", dry_run=True) == 1
    assert await parts.texts.listed("default") == (0, {})
    assert await parts.texts.put("default", TITLE, "Own: {{ who }}") == 1
    assert await parts.texts.put("default", TITLE, "Own: {{ who }}", dry_run=True) == 1
    with pytest.raises(Problem, match="changed since"):
        await parts.texts.put("default", TITLE, "Other: {{ who }}", rev=0, dry_run=True)
    assert await parts.texts.listed("default") == (1, {TITLE: "Own: {{ who }}"})
