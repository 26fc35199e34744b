"""Organisations' own texts: every revision of them, for an alert keeps the one it was approved with."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

#: Message, channel, language, part.
TextKey = tuple[str, str, str, str]


class StoredText(msgspec.Struct, frozen=True):
    """One text and where it stands."""

    place: TextKey
    template: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[StoredText]).decode


class TextStore:
    """The repository of own texts. Sealed, so that nobody puts words into an organisation's mouth by way of the store."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    async def revision(self, org: str) -> int:
        """The latest revision, 0 for none."""
        return int(await self._db.execute("HLEN", keys.org(org, "texts")))

    async def read_revision(self, org: str, revision: int) -> dict[TextKey, str]:
        """All texts of one revision; none of revision 0. Raises `KeyError` for one that was never made."""
        if not revision:
            return {}
        name = keys.org(org, "texts")
        sealed = await self._db.execute("HGET", name, revision)
        if sealed is None:
            raise KeyError(f"There is no revision {revision} of these texts.")
        opened = self._db.codec.master.open(sealed, _bound(name, revision))
        return {text.place: text.template for text in _decode(opened)}

    async def add(self, org: str, texts: Iterable[tuple[TextKey, str]], *, after: int) -> bool:
        """The revision that follows `after`, durably. False when there is one already."""
        name = keys.org(org, "texts")
        plain = _encode([StoredText(place, template) for place, template in sorted(texts)])
        sealed = self._db.codec.master.seal(plain, _bound(name, after + 1))
        return bool(await self._db.run_durably("texts_add", [name], after, sealed))


def _bound(name: str, revision: int) -> str:
    return f"{name} {revision}"
