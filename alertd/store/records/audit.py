"""The audit: per organisation one stream of entries that only grows, each bound to the one before it.

Each entry's link is an HMAC-SHA1 (RFC 2104) over its stream's name, number, time, the link before it and what it says, made
inside the script that appends it, for only there the number, the time and the link before are known for certain. Scripts
have no other hash; what breaks SHA-1 are collisions, which an HMAC does not rest on (RFC 6151 section 2.3 of MD5, which is weaker).
What an entry says is sealed, so that it can be neither read nor written by way of the store. A stream cannot be rewritten, so the key is one
that is derived from the master key and is kept when that is rotated.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from alertd.store.engine import keys
from alertd.store.engine.codec import SealError
from alertd.store.engine.connection import Connection

_BLOCK = 64  # bytes of a block of SHA-1
_WINDOW = 1_000  # entries read at once
_LAST = ("last-generated-id", b"last-generated-id")  # the client reads the names of some answers, and not of others


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """An entry as the store has it."""

    number: int
    at: int  # UNIX milliseconds
    link: str
    said: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a look at a whole chain found."""

    entries: int  # the last number that was ever given
    head: str  # the link of the last entry that holds
    broken: int | None = None  # the first entry that is not as it was written
    why: str = ""


class AuditLog:
    """The repository of entries. Nothing here changes or removes one."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._signing = connection.codec.derived("audit")

    async def append(self, org: str, said: bytes) -> int:
        """Durably; answers the entry's number. Raises StoreUnavailableError: then it may be there, or not."""
        name = keys.org_audit(org)
        sealed = self._db.codec.audit.seal(said, name)
        number, _link = await self._db.run_durably(
            "audit", [name], sealed, *_pads(self._signing.current), self._db.skew_ms
        )
        return int(number)

    async def page(self, org: str, *, before: int | None, limit: int) -> list[tuple[Sealed, bytes]]:
        """The latest entries before a number, newest first, each with what it says; one that does not open says nothing."""
        name = keys.org_audit(org)
        top = "+" if before is None else f"({before}-0"
        found = await self._db.execute("XREVRANGE", name, top, "-", "COUNT", limit)
        return [(entry, self._said(name, entry) or b"") for entry in map(_entry, found)]

    async def verify(self, org: str, *, noted: tuple[int, str] | None = None) -> Verdict:
        """Follows the chain from its first entry. `noted` is the number and link of an entry that somebody wrote down
        elsewhere: whoever has the keys could make the whole chain anew, but not that.
        """
        name, number, at, link = keys.org_audit(org), 0, 0, ""
        last = await self._last_number(name)
        async for entry in self._entries(name):
            why = self._fault(name, entry, number, at, link)
            if not why and noted and entry.number == noted[0] and entry.link != noted[1]:
                why = "its link is not the one that was noted"
            if why:
                return Verdict(entries=last, head=link, broken=number + 1, why=why)
            number, at, link = entry.number, entry.at, entry.link
        if number < max(last, noted[0] if noted else 0):
            return Verdict(entries=last, head=link, broken=number + 1, why="it is missing, and whatever followed it")
        return Verdict(entries=last, head=link)

    def _fault(self, name: str, entry: Sealed, number: int, at: int, link: str) -> str:
        """What is wrong with the entry that follows one, '' for nothing."""
        if entry.number != number + 1:
            return "it is missing"
        if entry.at < at:
            return "it is older than the one before it"
        said = "\n".join((name, str(entry.number), str(entry.at), link, "")).encode() + entry.said
        links = (hmac.digest(key, said, "sha1").hex() for key in self._signing.every)
        if not any(hmac.compare_digest(link, entry.link) for link in links):
            return "it, or the link before it, is not what was written"
        return "" if self._said(name, entry) is not None else "what it says does not open"

    def _said(self, name: str, entry: Sealed) -> bytes | None:
        try:
            return self._db.codec.audit.open(entry.said, name)
        except SealError:
            return None

    async def _entries(self, name: str) -> AsyncIterator[Sealed]:
        after = "-"
        while found := await self._db.execute("XRANGE", name, after, "+", "COUNT", _WINDOW):
            for raw in found:
                yield _entry(raw)
            after = f"({found[-1][0].decode()}"

    async def _last_number(self, name: str) -> int:
        if not await self._db.execute("EXISTS", name):
            return 0
        flat = await self._db.execute("XINFO STREAM", name)
        facts = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
        return int(next(facts[name] for name in facts if name in _LAST).partition(b"-")[0])


@lru_cache(maxsize=4)
def _pads(key: bytes) -> tuple[bytes, bytes]:
    """The key of an HMAC, as the script takes it."""
    padded = key.ljust(_BLOCK, b"\0")
    return bytes(byte ^ 0x36 for byte in padded), bytes(byte ^ 0x5C for byte in padded)


def _entry(raw: Any) -> Sealed:
    """From the stream; what is damaged reads as an entry that no link fits."""
    name, flat = raw
    fields = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
    at = fields.get(b"at", b"")
    return Sealed(
        number=int(name.decode().partition("-")[0]),
        at=int(at) if at.isdigit() else 0,
        link=fields.get(b"link", b"").decode(errors="replace"),
        said=fields.get(b"said", b""),
    )
