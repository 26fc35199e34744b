"""Carriers' own ids of messages, for those whose reports name nothing else: whose message an id is, under a keyed hash.

A report may come before the message is known here, for its chunk is settled only with its slowest answer, or after it was
sent by another process: what it says is held until the id is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alertd.common.clock import DAY_MS
from alertd.model.states import State
from alertd.store.engine import keys
from alertd.store.engine.connection import Arg, Connection

#: A carrier may tell the end of a message later than its validity ends, or know no validity at all.
LATE_MS = DAY_MS
#: Longer than any answer, and the settling of its chunk, may take. After that it speaks of nobody's message.
HELD_MS = 300_000
#: Letters of a hash that tell the tries of one row apart.
_TRY = 8


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that a carrier took, each part of it under an id."""

    tag: str
    ids: tuple[str, ...]
    keep_ms: int  # while the message is valid


@dataclass(frozen=True, slots=True)
class Said:
    """What a carrier says of a message or of a part of one."""

    message_id: str
    state: State
    reason: int


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose message an id is. Those of several tries have one tag, and a part of one completes no other."""

    tag: str
    parts: int
    its_try: str = ""


class MessageIds:
    """Ids of any number of carriers."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def keep(self, carrier: str, messages: Sequence[Sent]) -> list[tuple[Owner, Said]]:
        """Remember whose these are. Answers what was said of them before."""
        told = [(self._owner_of(one), name, one.keep_ms) for one in messages for name in one.ids]
        held = await self._tell(carrier, [(name, _text(owner), max(0, ms) + LATE_MS) for owner, name, ms in told])
        return [(owner, _said(name, raw)) for (owner, name, _), raw in zip(told, held, strict=True) if raw]

    async def owners(self, carrier: str, said: Sequence[Said]) -> list[Owner | None]:
        """Whose messages these are said of; None where nobody knows yet, and then it is held."""
        found = await self._tell(carrier, [(one.message_id, f"!{one.state} {one.reason}", HELD_MS) for one in said])
        return [_owner(raw) if raw else None for raw in found]

    async def whole(self, parts: Sequence[tuple[Owner, str]]) -> list[bool]:
        """Whether all parts of each message are delivered, now that the one of this id is."""
        commands: list[Sequence[Arg]] = []
        for owner, message_id in parts:
            name = keys.message_parts(self._db.codec.hashed("message-parts", f"{owner.tag} {owner.its_try}"))
            commands += (("SADD", name, message_id), ("PEXPIRE", name, LATE_MS), ("SCARD", name))
        answers = await self._db.execute_many(commands) if commands else []
        return [int(count) >= owner.parts for (owner, _), count in zip(parts, answers[2::3], strict=True)]

    def _owner_of(self, sent: Sent) -> Owner:
        return Owner(sent.tag, len(sent.ids), self._db.codec.hashed("message-try", " ".join(sent.ids))[:_TRY])

    async def _tell(self, carrier: str, what: Sequence[tuple[str, str, int]]) -> list[bytes | None]:
        return await self._db.run_many(
            [("message_id", [self._key(carrier, name)], [text, keep_ms]) for name, text, keep_ms in what]
        )

    def _key(self, carrier: str, message_id: str) -> str:
        return keys.message_id(self._db.codec.hashed("message-id", f"{carrier}\0{message_id}"))


def _said(message_id: str, raw: bytes) -> Said:
    state, _, reason = raw.decode().removeprefix("!").partition(" ")
    return Said(message_id, State(int(state)), int(reason))


def _text(owner: Owner) -> str:
    return f"{owner.tag} {owner.parts} {owner.its_try}"


def _owner(raw: bytes) -> Owner:
    tag, _, rest = raw.decode().partition(" ")
    parts, _, its_try = rest.partition(" ")
    return Owner(tag, int(parts), its_try)
