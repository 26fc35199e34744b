"""Whoever wanted nothing more is not told again, whatever comes with the next import, and nobody else has that in clear."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from functools import partial
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from pydantic import ValidationError
from redis.asyncio import Redis

from alertd.common.ids import TokenPurpose
from alertd.model.registration import PushAddress
from alertd.model.states import CHANNELS
from alertd.model.subscriber import AddressState
from alertd.service.areas.regions import Regions
from alertd.service.container import Container
from alertd.service.people.address_claims import give_up
from alertd.service.people.registration_intake import Entry
from alertd.service.people.registry import Registry
from alertd.service.people.suppression import Done, Suppression
from alertd.store.areas.custom_regions import CustomRegions
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection
from alertd.store.people.subscribers import People
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from channels.smpp.inbox import Written
from channels.smpp.words import Word
from geofences.regions import Library
from tests.integration.acts import counts, planned, register, registration, send
from tests.integration.people.held import Clock, CrashError, Held
from tests.sampling import sampled

PUSH, SMS, MAIL = map(CHANNELS.index, ("push", "sms", "mail"))
ACTIVE, STOPPED = AddressState.ACTIVE, AddressState.STOPPED
NUMBER = "+34600000000"  # of p0


async def states(parts: Container, name: str = "p0") -> dict[str, AddressState]:
    """By channel."""
    person = await parts.registry.get(name)
    return {CHANNELS[a.channel]: AddressState(a.state) for a in person.addresses}


async def say(parts: Container, word: Word, number: str = NUMBER) -> None:
    await parts.inbound("centre").take_answers([Written(number, word, "")])


async def test_stopped_forgotten_and_imported_again_is_not_told(parts: Container, sample: dict[str, Any]):
    """A case system knows nothing of a STOP: whoever comes with its next import is told by the other addresses alone."""
    await register(parts, 25)
    await say(parts, Word.STOP)
    await parts.registry.forget("p0")
    await register(parts, 1)
    assert await states(parts) == {"push": ACTIVE, "sms": STOPPED, "mail": ACTIVE}
    record = await planned(parts, sample, channels=["sms"])
    assert await send(parts, record, "sms")
    assert await counts(parts, record, "sms") == {"accepted": 24}


async def test_stop_of_a_number_that_nobody_has_holds_for_whoever_comes_with_it(parts: Container):
    """Written one by one, as one of many, added, or in place of another address."""
    await say(parts, Word.STOP)
    await register(parts, 1)
    assert (await states(parts))["sms"] is STOPPED
    await parts.registry.forget("p0")
    await parts.registry.put("p0", registration(0, addresses=[{"channel": "push", "token": "t"}]))
    await parts.registry.patch("p0", {"addresses": [{"channel": "sms", "number": NUMBER}]})
    assert await states(parts) == {"sms": STOPPED}
    await parts.suppression.stop([(PUSH, "given-up")])
    await parts.registry.put_address("p0", 2, PushAddress(channel="push", token="rotates"))
    assert (await states(parts))["push"] is ACTIVE
    await parts.registry.put_address("p0", 2, PushAddress(channel="push", token="given-up"))
    assert (await states(parts))["push"] is STOPPED


async def test_start_takes_it_back_for_whoever_has_the_number_and_whoever_comes(parts: Container):
    """Both where somebody has it and where nobody does."""
    await register(parts, 1)
    await say(parts, Word.STOP)
    await say(parts, Word.START)
    assert (await states(parts))["sms"] is ACTIVE
    await say(parts, Word.STOP)
    await parts.registry.forget("p0")
    await say(parts, Word.START)
    await register(parts, 1)
    assert (await states(parts))["sms"] is ACTIVE


async def test_stop_of_a_number_without_a_country_stops_no_stranger(
    parts: Container, capsys: pytest.CaptureFixture[str]
):
    """It may be anybody's: it is counted and told, without the number, and so are not the words of others that change nothing."""
    await register(parts, 1, addresses=[{"channel": "sms", "number": "+600000000"}])
    await say(parts, Word.STOP, "600000000")
    await say(parts, Word.HELP, "600000000")
    assert (await states(parts))["sms"] is ACTIVE
    assert b'alertd_unplaced_total{carrier="centre"} 1.0' in parts.metrics.text()
    assert "600000000" not in "".join(capsys.readouterr())


async def test_stop_that_was_said_to_the_carrier_holds_for_every_import_and_carrier(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any]
):
    """Of a number that opted out at it a carrier says so when it is next written to: it stays listed, and nobody writes there again."""
    await register(parts, 25)
    sandbox.sms.script.set(Rule(NUMBER, "opted-out"))
    record = await planned(parts, sample, channels=["sms"])
    await send(parts, record, "sms")
    assert await counts(parts, record, "sms") == {"accepted": 24, "failed": 1}
    assert (await states(parts))["sms"] is STOPPED
    assert await parts.suppression.since((SMS, NUMBER))
    sandbox.sms.script.set()
    await parts.registry.forget("p0")
    await register(parts, 1)
    record = await planned(parts, sample, channels=["sms"])
    await send(parts, record, "sms")
    assert (await states(parts))["sms"] is STOPPED
    assert await counts(parts, record, "sms") == {"accepted": 24}
    assert b'alertd_optouts_total{channel="sms"} 1.0' in parts.metrics.text()


@pytest.mark.parametrize(("to", "listed"), [(NUMBER, True), ("+34699999999", False), ("", False)])
async def test_stop_that_a_carrier_tells_only_after_it_took_a_message_holds_too(
    parts: Container, client: Any, sandbox: Sandbox, sample: dict[str, Any], to: str, listed: bool
):
    """By its status report, however often that comes; of nobody else's number, whoever has the address of one message."""
    await register(parts, 25)
    record = await planned(parts, sample, channels=["sms"])
    await send(parts, record, "sms")
    number = (await parts.registry.get("p0")).number
    row = await anext(one.row async for one in parts.reports.deliveries_to(record, number))
    form = {"MessageStatus": "failed", "ErrorCode": "21610", "To": to}
    for _ in range(2):
        await client.post(f"/v1/receipts/text/{parts.tags.make(record.id, row, TokenPurpose.RECEIPT)}", data=form)
    assert await counts(parts, record, "sms") == {"accepted": 24, "failed": 1}
    assert bool(await parts.suppression.since((SMS, to or NUMBER))) is listed
    assert (await states(parts))["sms"] is (STOPPED if listed else ACTIVE)


@pytest.mark.parametrize("first", [Word.STOP, None])
async def test_start_takes_nothing_back_that_its_owner_did_not_put_there(parts: Container, first: Word | None):
    """An operator listed the number, whether or not it had said STOP before: only an operator takes it off, and all of it."""
    await register(parts, 1)
    if first:
        await say(parts, first)
    done = await parts.suppression.hold([(SMS, NUMBER)])
    assert done == (Done(0, 0) if first else Done(1, 1))
    since = await parts.suppression.since((SMS, NUMBER))
    await say(parts, Word.STOP)
    await say(parts, Word.START)
    assert (await states(parts))["sms"] is STOPPED
    assert await parts.suppression.since((SMS, NUMBER)) == since
    assert parts.clock.now_ms() // 1000 - since < 60
    assert await parts.suppression.lift([(SMS, NUMBER)]) == Done(1, 1)
    assert (await states(parts))["sms"] is ACTIVE


async def test_an_address_is_stopped_by_its_name(parts: Container):
    """As whoever leaves by one click is known: for whoever has it, and whoever has it next."""
    await register(parts, 1)
    name = parts.people.names.address_hash(SMS, NUMBER)
    assert await parts.suppression.stop_named([name]) == Done(1, 1)
    assert (await states(parts))["sms"] is STOPPED
    assert await parts.suppression.since((SMS, NUMBER))
    await parts.registry.forget("p0")
    await parts.registry.put("other", registration(0))
    assert (await states(parts, "other"))["sms"] is STOPPED


async def test_the_list_keeps_the_first_time_and_counts_what_changed(parts: Container):
    """Said again it changes nothing; an address that is not listed is lifted without harm."""
    await register(parts, 1)
    assert await parts.suppression.since((SMS, NUMBER)) is None
    done = await parts.suppression.stop([(SMS, NUMBER), (SMS, "+34699999999")])
    assert (done.listed, done.changed) == (2, 1)
    since = await parts.suppression.since((SMS, NUMBER))
    done = await parts.suppression.stop([(SMS, NUMBER)])
    assert (done.listed, done.changed) == (0, 0)
    assert await parts.suppression.since((SMS, NUMBER)) == since
    done = await parts.suppression.lift([(SMS, NUMBER)])
    assert (done.listed, done.changed) == (1, 1)
    done = await parts.suppression.lift([(SMS, NUMBER)])
    assert (done.listed, done.changed) == (0, 0)


async def test_a_mailbox_is_one_however_its_capitals_are_written(parts: Container, redis: Redis):
    """A list of another provider is in small letters: it stops whoever registered in capitals, and whoever comes so; nobody has both. The mail
    goes to what was written.
    """
    address = {"channel": "mail", "mailbox": "Ana.Lopez@people.example"}
    await parts.registry.put("ana", registration(0, addresses=[address]))
    assert (await parts.suppression.stop([(MAIL, "ana.lopez@people.example")])).changed == 1
    (kept,) = (await parts.registry.get("ana")).addresses
    assert (kept.value, kept.state) == ("Ana.Lopez@people.example", STOPPED)
    assert await parts.suppression.since((MAIL, "ANA.LOPEZ@people.example")) is not None
    again = {"channel": "mail", "mailbox": "ana.LOPEZ@people.example"}
    outcome = await parts.registry.put_many([Entry("other", registration(1, addresses=[again]))])
    assert [one.slug for one in outcome] == ["duplicate-address"]
    await parts.registry.put("ana", registration(0, addresses=[again]))
    (kept,) = (await parts.registry.get("ana")).addresses
    assert (kept.number, kept.value, kept.state) == (0, "ana.LOPEZ@people.example", STOPPED)
    assert await parts.registry.lookup(MAIL, "ana.lopez@people.example")
    await parts.registry.forget("ana")
    await parts.registry.put("other", registration(1, addresses=[address]))
    assert await states(parts, "other") == {"mail": STOPPED}
    assert await parts.suppression.lift([(MAIL, "ana.lopez@people.example")]) == Done(1, 1)
    assert await states(parts, "other") == {"mail": ACTIVE}
    with pytest.raises(ValidationError, match="listed twice"):
        registration(2, addresses=[address, again])


async def test_ten_thousand_addresses_are_taken_in_seconds(parts: Container):
    """As many as another provider brings along, a thousand of them of subscribers."""
    await register(parts, 1_000)
    began = monotonic()
    done = await parts.suppression.stop([(SMS, f"+346{i:08d}") for i in range(10_000)])
    assert monotonic() - began < 10
    assert (done.listed, done.changed) == (10_000, 1_000)
    assert (await states(parts, "p999"))["sms"] is STOPPED


async def test_an_import_asks_the_list_once_for_a_thousand(parts: Container, redis: Redis, codec: Codec):
    """Not once an address, and not at all where nobody brings another address."""

    class Counting(Connection):
        trips = 0

        async def mget(self, names: Any) -> Any:
            self.trips += any(name.startswith("{t:") for name in names)
            return await super().mget(names)

    store = Counting(redis, codec)
    registry = Registry(People(store, parts.clock), parts.regions, parts.clock)
    entries = [Entry(f"p{i}", registration(i)) for i in range(1_000)]
    for _ in range(2):
        await registry.put_many(entries)
        assert store.trips == 1


async def test_nothing_of_a_listed_address_is_in_the_store_in_clear(parts: Container, redis: Redis):
    """Neither in names nor in values."""
    await say(parts, Word.STOP)
    await parts.suppression.stop([(PUSH, "token-of-maria")])
    for name in await redis.keys("*"):
        held = name + (await redis.dump(name) or b"")
        assert b"34600000000" not in held
        assert b"of-maria" not in held


#: What is done to "+34600000000" by whoever writes a record, and what is there before.
WRITES: dict[str, Any] = {
    "new": lambda registry: registry.put("p0", registration(0)),
    "add": lambda registry: registry.patch("p0", {"addresses": [{"channel": "sms", "number": NUMBER}]}),
}
BEFORE = {"new": None, "add": registration(0, addresses=[{"channel": "push", "token": "t"}])}


async def meet(redis: Redis, codec: Codec, library: Library, write: str, *, word: Word, held: str, dies: bool) -> None:
    """The writer, or whoever heeds the word, is held or dies before each of its round trips in turn; the other runs meanwhile."""
    for trips in count():
        await redis.flushall()
        clock, store = Clock(), Connection(redis, codec)
        slow = Held(redis, codec, trips, dies=dies)
        regions = Regions(library, CustomRegions(store), Path("nowhere"), clock)
        registry = Registry(People(slow if held == "writer" else store, clock), regions, clock)
        word_taker = Suppression(People(slow if held == "word" else store, clock), clock)
        before = BEFORE[write]
        if before:
            await Registry(People(store, clock), regions, clock).put("p0", before)
        sure = Suppression(People(store, clock), clock)
        if word is Word.START:
            await sure.stop([(SMS, NUMBER)])
        heed = word_taker.stop if word is Word.STOP else word_taker.lift
        acts = {"writer": partial(WRITES[write], registry), "word": partial(heed, [(SMS, NUMBER)])}
        first = asyncio.ensure_future(_quietly(acts.pop(held)()))
        reached = asyncio.ensure_future(slow.is_there.wait())
        await asyncio.wait([first, reached], return_when=asyncio.FIRST_COMPLETED)
        await next(iter(acts.values()))()
        slow.may_go.set()
        await first
        if dies:  # whoever died comes again: the carrier was told nothing, and the import was not answered
            clock.seconds += 120
            again = Registry(People(store, clock), regions, clock)
            await (WRITES[write](again) if held == "writer" else getattr(sure, heed.__name__)([(SMS, NUMBER)]))
        person = await Registry(People(store, clock), regions, clock).get("p0")
        state = next(a.state for a in person.addresses if a.channel == SMS)
        assert state == (STOPPED if word is Word.STOP else ACTIVE), trips
        if not slow.is_there.is_set():
            reached.cancel()
            return


async def _quietly(act: Any) -> None:
    with contextlib.suppress(CrashError):
        await act


def takes_turns(_write: str, word: Word, held: str, dies: bool) -> bool:
    """Each word with either held, and with either that dies."""
    return (word is Word.STOP) ^ (held == "word") ^ dies


WORDS = itertools.product(BEFORE, [Word.STOP, Word.START], ["writer", "word"], [False, True])


@pytest.mark.parametrize(("write", "word", "held", "dies"), sampled(WORDS, takes_turns))
async def test_a_word_that_comes_while_a_record_is_written_is_heeded(
    redis: Redis, codec: Codec, library: Library, write: str, word: Word, held: str, dies: bool
):
    """Between any two steps of either, and if either dies there and comes again."""
    await meet(redis, codec, library, write, word=word, held=held, dies=dies)


async def test_a_stop_is_heeded_even_while_the_claim_of_what_is_added_is_withdrawn(
    parts: Container, redis: Redis, codec: Codec
):
    """The same address was dropped a moment ago, and whoever dropped it gives up the claim of whoever adds it: a STOP finds nobody then."""
    await parts.registry.put("p0", BEFORE["add"])
    await parts.registry.put("p0", registration(0, addresses=[{"channel": "sms", "number": NUMBER}]))
    person = await parts.registry.get("p0")
    await parts.registry.put("p0", BEFORE["add"])
    for trips in count():
        slow = Held(redis, codec, trips)
        adding = asyncio.ensure_future(WRITES["add"](Registry(People(slow, parts.clock), parts.regions, parts.clock)))
        reached = asyncio.ensure_future(slow.is_there.wait())
        await asyncio.wait([adding, reached], return_when=asyncio.FIRST_COMPLETED)
        await give_up(parts.people, [(person.number, person.addresses[0])])
        await parts.suppression.stop([(SMS, NUMBER)])
        slow.may_go.set()
        await adding
        assert await states(parts) == {"sms": STOPPED}, trips
        if not slow.is_there.is_set():
            reached.cancel()
            return
        await parts.registry.put("p0", BEFORE["add"])
        await parts.suppression.lift([(SMS, NUMBER)])


@pytest.mark.parametrize("trips", range(4))
async def test_whoever_dies_while_a_stop_is_written_leaves_it_on_the_list(
    parts: Container, redis: Redis, codec: Codec, trips: int
):
    """The list is first: once anything is written, whoever comes with the number is not told, whether the STOP comes again or not."""
    await register(parts, 1)
    dying = Suppression(People(Held(redis, codec, trips, dies=True), parts.clock), parts.clock)
    with contextlib.suppress(CrashError):
        await dying.stop([(SMS, NUMBER)])
    is_listed = await parts.suppression.since((SMS, NUMBER)) is not None
    assert is_listed or (await states(parts))["sms"] is ACTIVE
    assert is_listed == (trips > 0)
    await say(parts, Word.STOP)
    assert (await states(parts))["sms"] is STOPPED


@pytest.mark.parametrize(
    ("last", "trips"),
    sampled(
        itertools.product([Word.STOP, Word.START], range(6)),
        lambda last, trips: (last is Word.STOP) == (trips % 2 == 0),
    ),
)
async def test_of_two_words_at_once_list_and_record_say_the_same(
    parts: Container, redis: Redis, codec: Codec, last: Word, trips: int
):
    """An operator lifts what its owner stops at that moment: whichever came last, the record is as the list."""
    await register(parts, 1)
    slow = Held(redis, codec, trips)
    held = Suppression(People(slow, parts.clock), parts.clock)
    first = asyncio.ensure_future((held.lift if last is Word.STOP else held.stop)([(SMS, NUMBER)]))
    reached = asyncio.ensure_future(slow.is_there.wait())
    await asyncio.wait([first, reached], return_when=asyncio.FIRST_COMPLETED)
    await say(parts, last)
    slow.may_go.set()
    await first
    reached.cancel()
    is_listed = await parts.suppression.since((SMS, NUMBER)) is not None
    assert (await states(parts))["sms"] is (STOPPED if is_listed else ACTIVE)
