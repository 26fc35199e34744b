"""Index from a carrier's message id to the tag of the message, for carriers whose delivery reports name only that id.

Keys are HMACs, so the store does not reveal the ids. A report may arrive before the id is stored: a worker settles a chunk only after
its slowest answer, and another process may have sent the message. Such a report is held until the id is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alertd.common.clock import DAY_MS
from alertd.model.states import State
from alertd.store.engine import keys
from alertd.store.engine.connection import Arg, Connection

#: An id is kept this long (ms) beyond the validity of its message: a carrier may report the end of a message later, or may not know its
#: validity.
LATE_MS = DAY_MS
#: A report for an unknown id is held this long (ms): longer than any answer and the settling of its chunk take.
HELD_MS = 300_000
#: Characters of the hash that distinguishes several attempts to send the message of one ledger row.
_TRY = 8


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that a carrier accepted, with the carrier's id of each part."""

    tag: str
    ids: tuple[str, ...]
    keep_ms: int  # remaining validity of the message (ms)


@dataclass(frozen=True, slots=True)
class MessageReport:
    """A carrier's report on a message or on one part of it."""

    message_id: str
    state: State
    reason: int


@dataclass(frozen=True, slots=True)
class Owner:
    """The message that a carrier's id belongs to. All attempts to send a message share its `tag`; `its_try` keeps the parts of two attempts
    apart.
    """

    tag: str
    parts: int  # number of parts of the message
    its_try: str = ""


class MessageIds:
    """Stores the carriers' message ids, and finds the message that a report is about."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def keep(self, carrier: str, messages: Sequence[Sent]) -> list[tuple[Owner, MessageReport]]:
        """Stores the carrier's ids of these messages. Returns the reports that came before their id was stored, each
        with its message. A repeated call returns them again, so that a crash loses none. An id of two messages belongs
        to neither.
        """
        entries = [(self._owner_of(one), name, one.keep_ms) for one in messages for name in one.ids]
        held = await self._tell(carrier, [(name, _text(owner), max(0, ms) + LATE_MS) for owner, name, ms in entries])
        return [(owner, _said(name, raw)) for (owner, name, _), raw in zip(entries, held, strict=True) if raw]

    async def owners(self, carrier: str, said: Sequence[MessageReport]) -> list[Owner | None]:
        """Returns for each report the message that its id belongs to, None for an unknown id. A report with an unknown id is held for
        HELD_MS, until `keep` stores the id.
        """
        found = await self._tell(carrier, [(one.message_id, f"!{one.state} {one.reason}", HELD_MS) for one in said])
        return [_owner(raw) if raw else None for raw in found]

    async def whole(self, parts: Sequence[tuple[Owner, str]]) -> list[bool]:
        """Records that each of these parts is delivered. Returns for each whether all parts of its message are delivered now."""
        commands: list[Sequence[Arg]] = []
        for owner, message_id in parts:
            name = keys.message_parts(self._db.codec.hashed("message-parts", f"{owner.tag} {owner.its_try}"))
            commands += (("SADD", name, message_id), ("PEXPIRE", name, LATE_MS), ("SCARD", name))
        answers = await self._db.execute_many(commands) if commands else []
        return [int(count) >= owner.parts for (owner, _), count in zip(parts, answers[2::3], strict=True)]

    def _owner_of(self, sent: Sent) -> Owner:
        """Returns the owner of a sent message's ids. Its `its_try` is a hash of all these ids."""
        return Owner(sent.tag, len(sent.ids), self._db.codec.hashed("message-try", " ".join(sent.ids))[:_TRY])

    async def _tell(self, carrier: str, what: Sequence[tuple[str, str, int]]) -> list[bytes | None]:
        """Stores the owner or (`!` in front) the report of each id, given as (id, text, ms to keep it), in one round trip. Returns for each
        the held report of an owner, or the owner that a report belongs to; None if that is not stored yet.
        """
        return await self._db.run_many(
            [("message_id", [self._key(carrier, name)], [text, keep_ms]) for name, text, keep_ms in what]
        )

    def _key(self, carrier: str, message_id: str) -> str:
        """Returns the store key of a carrier's message id."""
        return keys.message_id(self._db.codec.hashed("message-id", f"{carrier}\0{message_id}"))


def _said(message_id: str, raw: bytes) -> MessageReport:
    """Reads a held report."""
    state, _, reason = raw.decode().removeprefix("!").partition(" ")
    return MessageReport(message_id, State(int(state)), int(reason))


def _text(owner: Owner) -> str:
    """Returns the stored form of an owner."""
    return f"{owner.tag} {owner.parts} {owner.its_try}"


def _owner(raw: bytes) -> Owner:
    """Reads an owner from its stored form."""
    tag, _, rest = raw.decode().partition(" ")
    parts, _, its_try = rest.partition(" ")
    return Owner(tag, int(parts), its_try)
