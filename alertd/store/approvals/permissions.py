"""What neighbouring organisations are asked for: where each finds it, and how an answer is written into the alert."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from alertd.common.ids import nth_of
from alertd.model.states import SHOWN
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.frozen_audience import FrozenAudience, pack_audience
from alertd.store.alerts.records import GRANTED, AlertRecord, Seals, encode_content, listed
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

#: Of each organisation the latest that it was asked about; five times what it is shown.
REMEMBERED = 1_000


class PermissionStore:
    """The repository of these. The alert's record is the authority; an entry of an organisation's list only leads to it."""

    def __init__(self, connection: Connection, alerts: Alerts) -> None:
        self._db = connection
        self._alerts = alerts

    async def note(self, orgs: Iterable[str], chain: str, now_ms: int) -> None:
        """Neighbours are about to be asked: written before the alert is approved, so that no crash hides it from them."""
        names = [keys.org(org, "asked") for org in orgs]
        if names:  # asked again it is the latest again: an organisation is shown the latest alone
            await self._db.execute_many([("ZADD", name, "GT", now_ms, chain) for name in names])
            await self._db.execute_many([("ZREMRANGEBYRANK", name, 0, -REMEMBERED - 1) for name in names])

    async def of(self, org: str, limit: int) -> list[str]:
        """The latest alerts that an organisation was, or was about to be, asked about, newest first."""
        found = await self._db.execute("ZREVRANGE", keys.org(org, "asked"), 0, limit - 1)
        return [chain.decode() for chain in found]

    async def drop(self, org: str, chains: Iterable[str]) -> None:
        """Nothing is left of these alerts."""
        if gone := list(chains):
            await self._db.execute("ZREM", keys.org(org, "asked"), *gone)

    async def teller(self, chain: str) -> str:
        """The version that tells an alert now."""
        return (await self._db.execute("HGET", keys.chain(chain), "teller") or chain.encode()).decode()

    async def answer(self, record: AlertRecord, word: str, org: str, fields: Mapping[str, str]) -> tuple[bool, str]:
        """Set fields of an alert that is shown, and notify its people by the event `word`, as `Alerts.note_from` does."""
        return await self._alerts.note_from(record, org, word, fields, states=SHOWN)

    async def widen(
        self, alert: AlertRecord, version: AlertRecord, area: bytes, audience: FrozenAudience, *, org: str, key: str
    ) -> tuple[bool, str]:
        """Make an alert what `alert` says, with an area (packed) that a neighbour's ground is part of, and open the gate of the version that
        tells its audience, durably and all or nothing, if the alert is of the revision it has here and the version is its next.
        Answers as `answer` does, or 'again' for another last version.
        """
        box = await self._alerts.case_box(alert.case, alert.id)
        seals = Seals(alert.id, self._db.codec.master, box)
        await self._alerts.times.note_end(version)
        names = ("permissions", "permitted_by", "permission_why", "regions", "changes")
        fields = seals.flat({name: getattr(alert, name) for name in names})
        fields += [GRANTED, alert.grounds[GRANTED]]
        last = nth_of(version.id) - 1
        done, old = await self._alerts.run_live(
            "widen", alert.id, listed(SHOWN), alert.rev, last, version.id, area,
            pack_audience(audience.numbers, audience.rings), len(audience.numbers), self._db.skew_ms, org, f"{org}:{key}",
            len(fields), *fields, "alerted", version.alerted, *encode_content(version, Seals(version.id, self._db.codec.master, box)),
        )  # fmt: skip
        return bool(done), old.decode()
