"""The audit: one append-only stream of entries for each organisation. Each entry is linked to the one before it.

An entry's link is an HMAC-SHA1 (RFC 2104) over the stream's name, the entry's number and time, the link before it and the content. The
script that appends the entry computes it, because only there the number, the time and the link before are certain. Scripts have no
other hash. SHA-1 is broken by collisions, and an HMAC does not depend on collision resistance (RFC 6151 section 2.3, of the weaker MD5).
The content is encrypted, so that a thief of the store can neither read nor forge it. A stream cannot be rewritten, so its key is derived
from the master key and kept when the master key rotates.
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
_LAST = ("last-generated-id", b"last-generated-id")  # the client decodes the names in some replies, and not in others


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """An audit entry in its stored form: its content is encrypted, and its link proves its place in the stream."""

    number: int
    at: int  # UNIX milliseconds
    link: str
    said: bytes  # the encrypted content


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCheck:
    """Result of verifying a whole stream."""

    entries: int  # the highest entry number ever used
    head: str  # the link of the last valid entry
    broken: int | None = None  # number of the first entry that differs from what was written
    why: str = ""  # the fault of that entry; '' if the stream is valid


class AuditLog:
    """The repository of audit entries. No method changes or deletes one."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._signing = connection.codec.derived("audit")

    async def append(self, org: str, said: bytes) -> int:
        """Appends an entry, durably, and returns its number. After StoreUnavailableError the entry may or may not be stored."""
        name = keys.org_audit(org)
        sealed = self._db.codec.audit.seal(said, name)
        number, _link = await self._db.run_durably(
            "audit", [name], sealed, *_pads(self._signing.current), self._db.skew_ms
        )
        return int(number)

    async def page(self, org: str, *, before: int | None, limit: int) -> list[tuple[Sealed, bytes]]:
        """Returns at most `limit` entries before the number `before` (None: the latest), newest first, each with its content, b"" if it
        cannot be decrypted.
        """
        name = keys.org_audit(org)
        top = "+" if before is None else f"({before}-0"
        found = await self._db.execute("XREVRANGE", name, top, "-", "COUNT", limit)
        return [(entry, self._said(name, entry) or b"") for entry in map(_entry, found)]

    async def verify(self, org: str, *, noted: tuple[int, str] | None = None) -> AuditCheck:
        """Verifies the stream from its first entry on, and returns the result. `noted`: number and link of an entry that were noted outside
        the store.

        A holder of the keys could forge the whole stream, but not a noted link.
        """
        name, number, at, link = keys.org_audit(org), 0, 0, ""
        last = await self._last_number(name)
        async for entry in self._entries(name):
            why = self._fault(name, entry, number, at, link)
            if not why and noted and entry.number == noted[0] and entry.link != noted[1]:
                why = "its link is not the one that was noted"
            if why:
                return AuditCheck(entries=last, head=link, broken=number + 1, why=why)
            number, at, link = entry.number, entry.at, entry.link
        if number < max(last, noted[0] if noted else 0):
            return AuditCheck(entries=last, head=link, broken=number + 1, why="it and all later entries are missing")
        return AuditCheck(entries=last, head=link)

    def _fault(self, name: str, entry: Sealed, number: int, at: int, link: str) -> str:
        """Returns the fault of an entry, or '' if it is valid. `number`, the time and the link are those of the entry before it. `name`:
        store key of the stream.
        """
        if entry.number != number + 1:
            return "it is missing"
        if entry.at < at:
            return "it is older than the one before it"
        said = "\n".join((name, str(entry.number), str(entry.at), link, "")).encode() + entry.said
        links = (hmac.digest(key, said, "sha1").hex() for key in self._signing.every)
        if not any(hmac.compare_digest(link, entry.link) for link in links):
            return "it, or the link before it, was changed"
        return "" if self._said(name, entry) is not None else "what it says does not open"

    def _said(self, name: str, entry: Sealed) -> bytes | None:
        """Returns the decrypted content of an entry, None if it cannot be decrypted."""
        try:
            return self._db.codec.audit.open(entry.said, name)
        except SealError:
            return None

    async def _entries(self, name: str) -> AsyncIterator[Sealed]:
        """Yields all entries of a stream, the oldest first."""
        after = "-"
        while found := await self._db.execute("XRANGE", name, after, "+", "COUNT", _WINDOW):
            for raw in found:
                yield _entry(raw)
            after = f"({found[-1][0].decode()}"

    async def _last_number(self, name: str) -> int:
        """Returns the highest entry number that the stream under this store key ever had, 0 for none."""
        if not await self._db.execute("EXISTS", name):
            return 0
        flat = await self._db.execute("XINFO STREAM", name)
        facts = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
        return int(next(facts[name] for name in facts if name in _LAST).partition(b"-")[0])


@lru_cache(maxsize=4)
def _pads(key: bytes) -> tuple[bytes, bytes]:
    """Returns the inner and the outer pad of an HMAC key, which the script needs."""
    padded = key.ljust(_BLOCK, b"\0")
    return bytes(byte ^ 0x36 for byte in padded), bytes(byte ^ 0x5C for byte in padded)


def _entry(raw: Any) -> Sealed:
    """Returns an entry from a reply. A damaged one becomes an entry whose link cannot be valid."""
    name, flat = raw
    fields = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
    at = fields.get(b"at", b"")
    return Sealed(
        number=int(name.decode().partition("-")[0]),
        at=int(at) if at.isdigit() else 0,
        link=fields.get(b"link", b"").decode(errors="replace"),
        said=fields.get(b"said", b""),
    )
