"""Photos: one hash each, encrypted under a key of its own. The master key wraps that key until an alert uses the photo, then the key of the
alert's case. So destroying the case's key destroys the photo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alertd.common.clock import DAY_MS
from alertd.store.alerts.alerts import Alerts
from alertd.store.engine import keys
from alertd.store.engine.codec import Box
from alertd.store.engine.connection import Arg, Connection

#: A photo stays readable this long (ms) after the end of its last alert: for a follow-up, and for people who review the case.
KEPT_AFTER_MS = 90 * DAY_MS


@dataclass(frozen=True, slots=True)
class MediaRecord:
    """A photo's record without the image itself."""

    id: str
    org: str
    case: str  # as `AlertRecord.case`; empty until an alert uses the photo
    about: bytes  # facts about the photo: JSON, decrypted


class Media:
    """The repository of photos."""

    def __init__(self, connection: Connection, alerts: Alerts) -> None:
        self._db = connection
        self._alerts = alerts

    async def put(
        self, media_id: str, org: str, about: bytes, copies: Mapping[str, bytes], *, keep_ms: int, now_ms: int
    ) -> bool:
        """Stores a photo that no alert uses yet, durably. `copies`: its image data by size. It expires after `keep_ms`. Returns False if
        the id exists.
        """
        name = keys.media(media_id)
        wrapped = self._db.codec.new_key(name)
        box = self._db.codec.case_box(wrapped, name)
        await self._db.execute(
            "ZADD", keys.org(org, "media"), now_ms + keep_ms, media_id
        )  # first, so that the limit counts every photo
        fields: list[Arg] = ["org", org, "key", wrapped, "about", box.seal(about, f"{name} about")]
        for size, data in copies.items():
            fields += [size, box.seal(data, f"{name} {size}")]
        return bool(await self._db.run_durably("media_put", [name], keep_ms, *fields))

    async def waiting(self, org: str, now_ms: int) -> int:
        """Returns the number of an organisation's photos that no alert uses yet, and removes those that have expired from its list."""
        name = keys.org(org, "media")
        _, count = await self._db.execute_many([("ZREMRANGEBYSCORE", name, "-inf", now_ms), ("ZCARD", name)])
        return int(count)

    async def get(self, media_id: str) -> MediaRecord | None:
        """Returns a photo's record without the image, None if it does not exist or its case was purged."""
        (org, case, about), box = await self._with_box(media_id, "org", "case", "about")
        if org is None or about is None or box is None:
            return None
        opened = box.open(about, f"{keys.media(media_id)} about")
        return MediaRecord(media_id, org.decode(), (case or b"").decode(), opened)

    async def copy(self, media_id: str, size: str) -> bytes | None:
        """Returns the image data of a photo in one size, None if it does not exist or its case was purged."""
        (sealed,), box = await self._with_box(media_id, size)
        return box.open(sealed, f"{keys.media(media_id)} {size}") if sealed and box else None

    async def alerts(self, media_id: str) -> list[str]:
        """Returns the ids of the alerts that use a photo, even if the photo itself is deleted."""
        return sorted(raw.decode() for raw in await self._db.execute("SMEMBERS", keys.media_alerts(media_id)))

    async def tellers(self, chains: Sequence[str]) -> dict[str, str]:
        """Returns by alert the id of the version that is current: the last approved update, else the alert itself."""
        found = await self._db.execute_many([("HGET", keys.chain(chain), "teller") for chain in chains])
        return {chain: raw.decode() if raw else chain for chain, raw in zip(chains, found, strict=True)}

    async def attach(self, media_id: str, org: str, case: str, alert_id: str, *, expires_ms: int) -> bool:
        """Attaches a photo to an alert of a case, durably; it then lives at least KEPT_AFTER_MS beyond `expires_ms` (UNIX ms). Returns
        False if this organisation and case have no such photo.
        """
        name = keys.media(media_id)
        held_by, wrapped = await self._fields(media_id, "case", "key")
        if wrapped is None:
            return False
        box = await self._alerts.case_box(case, media_id)
        own = b"" if held_by else box.seal(self._db.codec.master.open(wrapped, name), name)
        done = await self._db.run_durably("media_attach", [name], org, case, own, alert_id, expires_ms + KEPT_AFTER_MS)
        if done:
            await self._db.execute("ZREM", keys.org(org, "media"), media_id)
        return bool(done)

    async def _with_box(self, media_id: str, *names: str) -> tuple[Sequence[bytes | None], Box | None]:
        """Returns stored fields of a photo and the key that opens them. The key is None if the photo does not exist or its case was purged."""
        name = keys.media(media_id)
        case, wrapped, *found = await self._fields(media_id, "case", "key", *names)
        if wrapped is None:
            return found, None
        if case is None:
            return found, self._db.codec.case_box(wrapped, name)
        of_case = keys.case(case.decode())
        key = await self._db.execute("GET", of_case)
        return found, Box(self._db.codec.case_box(key, of_case).open(wrapped, name)) if key else None

    async def _fields(self, media_id: str, *names: str) -> Sequence[bytes | None]:
        """Returns stored fields of a photo, None for each that is missing."""
        found: Sequence[bytes | None] = await self._db.execute("HMGET", keys.media(media_id), *names)
        return found
