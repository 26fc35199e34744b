"""Updates of alerts: later versions of a chain that wait for their second person, and then tell the alert in place of all before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from alertd.common.ids import chain_of
from alertd.model.states import SHOWN, AlertState
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.frozen_audience import FrozenAudience, pack_audience
from alertd.store.alerts.published_history import PublishedWords
from alertd.store.alerts.records import AlertRecord, Seals, encode_content, listed, sources_of
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection

#: What an alert takes over from its update, besides its document.
TAKEN_OVER = ("level", "loudness", "regions", "countries", "changes", "rings_from")


class Updates:
    """The repository of updates."""

    def __init__(self, connection: Connection, alerts: Alerts) -> None:
        self._db = connection
        self._alerts = alerts
        self.published = PublishedWords(connection)

    async def propose(self, alert: AlertRecord, update: AlertRecord, area: bytes, *, last: int) -> tuple[bool, str]:
        """Write an update of an alert, durably, if the alert is shown and of the revision it has here, its chain has `last`
        versions, and no other update waits. Answers whether it was done, and the alert's state ('changed', 'expired', 'again' for
        another last version or the id of the update that waits, where that is why not).
        """
        await self._alerts.times.note_end(update)
        await self._alerts.enliven(alert.id, works=False)
        done, old = await self._db.run_durably(
            "propose", [keys.chain(alert.id)], alert.id, listed(SHOWN), alert.rev, last, update.id,
            area, self._db.skew_ms, "alerted", update.alerted, *encode_content(update, await self._seals(update)),
        )  # fmt: skip
        return bool(done), old.decode()

    async def list(self, update: AlertRecord) -> None:
        """Put it among its organisation's alerts, where approvers look. Again changes nothing."""
        await self._db.execute("ZADD", keys.org(update.org, "alerts"), "NX", update.created, update.id)

    async def approve(
        self, alert: AlertRecord, update: AlertRecord, audience: FrozenAudience, approver: str, *, sent_by: Iterable[str],
        asked: Iterable[str] = (), sent_alone: bool = False,
    ) -> tuple[bool, str, str]:  # fmt: skip
        """Freeze the audience of an update and open its gate, close those of what told the alert before, and make the alert say what
        `alert` does, durably and all or nothing, if both are of the revisions they have here; the neighbours `asked` are told so. Answers whether it was done, the state
        that stood against it ('expired' or 'changed'), and whose: 'alert' or 'update'.
        """
        await self._alerts.times.bring_forward(alert)
        of_alert = await self._fields(alert)
        done, old, whose = await self._alerts.run_live(
            "approve_update", alert.id, listed(SHOWN), alert.rev, update.id,
            sources_of(AlertState.APPROVED), update.rev, pack_audience(audience.numbers, audience.rings),
            len(audience.numbers), self._db.skew_ms, " ".join(sent_by), " ".join(asked),
            len(of_alert), *of_alert,
            "approver", (await self._seals(update)).seal("approver", approver), "approved_rev", update.rev,
            "sent_alone", int(sent_alone),
        )  # fmt: skip
        return bool(done), old.decode(), whose.decode()

    async def _fields(self, alert: AlertRecord) -> Sequence[str | bytes | int]:
        """What an alert says from now on."""
        seals = await self._seals(alert)
        fields: list[str | bytes | int] = [part for name in TAKEN_OVER for part in (name, getattr(alert, name))]
        fields += ["expires", alert.expires, "texts", alert.texts, "by", seals.seal("by", alert.by)]
        fields += ["permissions", alert.permissions, *(part for ground in alert.grounds.items() for part in ground)]
        return [*fields, "doc", seals.sealed(alert.document)]

    async def _seals(self, record: AlertRecord) -> Seals:
        """Its alert holds the key of the case; that something is sealed under it again is what a purge must know."""
        box = await self._alerts.case_box(record.case, chain_of(record.id))
        return Seals(record.id, self._db.codec.master, box)
