"""Whose message a centre means by an id: told early, of parts, of several tries, by whichever process."""

from __future__ import annotations

import pytest

from alertd.model.states import State
from alertd.store.delivery.message_ids import MessageIds, MessageReport, Sent
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

DELIVERED, FAILED = MessageReport("7", State.DELIVERED, 0), MessageReport("7", State.FAILED, 6)


@pytest.mark.parametrize(
    ("said", "early"),
    [([], []), ([FAILED], [FAILED]), ([FAILED, DELIVERED], [DELIVERED]), ([DELIVERED, FAILED], [DELIVERED])],
)
async def test_what_is_said_before_the_id_is_known_is_held(
    store: Connection, said: list[MessageReport], early: list[MessageReport]
):
    """Delivered outranks. After that whoever says something is told whose message it is."""
    known = MessageIds(store)
    assert [owner for one in said for owner in await known.owners("centre", [one])] == [None] * len(said)
    sent = Sent("tag", ("7",), 60_000)
    for _ in range(2):  # who was told may have had no store to heed it
        assert [(owner.tag, one) for owner, one in await known.keep("centre", [sent])] == [
            ("tag", one) for one in early
        ]
    assert [owner and owner.tag for owner in await known.owners("centre", [FAILED, DELIVERED])] == ["tag", "tag"]
    assert await known.owners("another", [DELIVERED]) == [None]


async def test_an_id_of_two_messages_is_nobody_s(store: Connection):
    """A centre that answers all with the same id ends nobody's message with another's, whichever process sent it."""
    known = MessageIds(store)
    for tag in ("ana", "bob", "eva"):
        await known.keep("centre", [Sent(tag, ("7",), 60_000)])
    assert await known.owners("centre", [FAILED, DELIVERED]) == [None, None]
    assert await known.keep("centre", [Sent("dan", ("7",), 60_000)]) == []
    await known.keep("another", [Sent("tag", ("7", "7"), 60_000)])
    (owner,) = await known.owners("another", [FAILED])
    assert owner
    assert (owner.tag, owner.parts) == ("tag", 2)


async def test_tries_of_one_row_have_parts_of_their_own(store: Connection):
    """They share its tag. What an older alertd kept says of no try, and is read all the same."""
    known = MessageIds(store)
    await known.keep("centre", [Sent("tag", ids, 60_000) for ids in (("1", "2"), ("3", "4"))])
    first, _, third, fourth = await known.owners("centre", [MessageReport(name, State.DELIVERED, 0) for name in "1234"])
    assert first
    assert third
    assert third == fourth
    assert [await known.whole([pair]) for pair in ((first, "1"), (third, "3"), (third, "4"))] == [
        [False],
        [False],
        [True],
    ]
    old = store.codec.hashed("message-id", "centre\0" + "5")
    await store.execute("SET", keys.message_id(old), "tag 2")
    (owner,) = await known.owners("centre", [MessageReport("5", State.DELIVERED, 0)])
    assert owner
    assert (owner.tag, owner.parts) == ("tag", 2)


async def test_ids_end_with_their_messages(store: Connection):
    """A day after the message's validity, for a centre may be late; neither id nor tag is kept in clear longer."""
    known = MessageIds(store)
    await known.keep("centre", [Sent("tag", ("secret-id",), 60_000), Sent("late", ("8",), -5)])
    await known.owners("centre", [MessageReport("9", State.FAILED, 0)])
    names = await store.execute("KEYS", "{n:*")
    assert not [name for name in names if b"secret-id" in name]
    lives = sorted([round(await store.execute("PTTL", name), -4) for name in names])
    assert lives == [300_000, 86_400_000, 86_460_000]
