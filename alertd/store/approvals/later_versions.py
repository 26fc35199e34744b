"""Later versions of a chain that are sent in place of all earlier ones: updates that wait for a second person, and versions for an area
that a neighbour permits.

Also lists for each neighbour organisation the alerts for which its permission is asked, and writes its answers into the alert.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from alertd.common.ids import chain_of, nth_of
from alertd.model.states import SHOWN, AlertState
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.published_history import PublishedWords
from alertd.store.alerts.record_fields import GRANTED, Flat, FrozenAudience, Seals, encode_content, pack_audience
from alertd.store.alerts.records import AlertRecord, listed, sources_of
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection


class Updates:
    """The repository of updates: later versions of an alert that replace the earlier ones."""

    def __init__(self, connection: Connection, alerts: Alerts) -> None:
        self._db = connection
        self._alerts = alerts
        self.published = PublishedWords(connection)

    async def propose(self, alert: AlertRecord, update: AlertRecord, area: bytes, *, last: int) -> tuple[bool, str]:
        """Stores an update of an alert as pending, durably. The alert must be one that the public may see (`SHOWN`) and have the revision
        of `alert`, it must have `last` versions, and no other update may be pending. `area`: packed.

        Returns whether it was done, and the alert's state. The reason for a refusal can also be 'changed', 'expired', 'again' (another last
        version) or the id of the pending update.
        """
        await self._alerts.times.note_end(update)
        await self._alerts.mark_live(alert.id, works=False)
        done, old = await self._db.run_durably(
            "propose", [keys.chain(alert.id)], alert.id, listed(SHOWN), alert.rev, last, update.id,
            area, self._db.skew_ms, *encode_content(update, await self._seals(update)),
        )  # fmt: skip
        return bool(done), old.decode()

    async def list(self, update: AlertRecord) -> None:
        """Adds an update to its organisation's list of alerts, where approvers look for it. Idempotent."""
        await self._db.execute("ZADD", keys.org(update.org, "alerts"), "NX", update.times.created, update.id)

    async def approve(
        self, alert: AlertRecord, update: AlertRecord, audience: FrozenAudience, approver: str, *, sent_by: Iterable[str],
        asked: Iterable[str] = (), sent_alone: bool = False,
    ) -> tuple[bool, str, str]:  # fmt: skip
        """Approves an update, atomically and durably: freezes its audience, starts its sending, ends the sending of earlier versions, and
        writes the content of `alert` into the alert. Both records must still have their revisions. The neighbours `asked` get an event.

        Returns whether it was done, the earlier state of the update or the reason for a refusal ('expired', 'changed', 'revised' or a
        state), and 'alert' or 'update': which of the two that is about.
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

    async def _fields(self, alert: AlertRecord) -> Flat:
        """Returns the fields of the alert that an approved update replaces, as arguments of a script, with the sealed document."""
        seals = await self._seals(alert)
        fields: Flat = ["level", alert.level, "loudness", alert.loudness]
        fields += ["regions", alert.target.regions, "countries", alert.target.countries]
        fields += ["changes", alert.times.changes, "rings_from", alert.times.rings_from]
        fields += ["expires", alert.expires, "texts", alert.texts, "by", seals.seal("by", alert.last_step.by)]
        fields += [
            "permissions",
            alert.neighbours.permissions,
            *(part for ground in alert.neighbours.areas.items() for part in ground),
        ]
        return [*fields, "doc", seals.sealed(alert.document)]

    async def _seals(self, record: AlertRecord) -> Seals:
        """Returns the keys that seal a version's fields. Records again that the case's key seals this alert, because a purge must notice
        that something new is sealed under it.
        """
        box = await self._alerts.case_box(record.case, chain_of(record.id))
        return Seals(record.id, self._db.codec.master, box)


#: Maximum number of alerts that are listed for each organisation, the latest ones: five times as many as are shown.
REMEMBERED = 1_000


class PermissionStore:
    """The repository of the permissions that organisations ask of their neighbours. The alert's record is the authority; an entry in an
    organisation's list only leads to it.
    """

    def __init__(self, connection: Connection, alerts: Alerts) -> None:
        self._db = connection
        self._alerts = alerts

    async def note(self, orgs: Iterable[str], chain: str, now_ms: int) -> None:
        """Adds an alert (`chain`) to the lists of requests of the organisations that it will ask for permission. Called before the alert is
        approved, so that a crash cannot hide the request from them.
        """
        names = [keys.org(org, "asked") for org in orgs]
        # A repeated request becomes the latest again, because only the latest are shown.
        await self._db.execute_many([("ZADD", name, "GT", now_ms, chain) for name in names])
        await self._db.execute_many([("ZREMRANGEBYRANK", name, 0, -REMEMBERED - 1) for name in names])

    async def of(self, org: str, limit: int) -> list[str]:
        """Returns at most `limit` alerts for which the organisation was, or was about to be, asked for permission, the latest first."""
        found = await self._db.execute("ZREVRANGE", keys.org(org, "asked"), 0, limit - 1)
        return [chain.decode() for chain in found]

    async def drop(self, org: str, chains: Iterable[str]) -> None:
        """Removes alerts (`chains`), which the caller found purged, from the list of requests that `org` was asked to
        permit.
        """
        if gone := list(chains):
            await self._db.execute("ZREM", keys.org(org, "asked"), *gone)

    async def teller(self, chain: str) -> str:
        """Returns the id of the version that last replaced all earlier ones: an approved update, or a version for an
        area that a neighbour permits. Returns `chain`, the id of the first version, if there is none.
        """
        return (await self._db.execute("HGET", keys.chain(chain), "teller") or chain.encode()).decode()

    async def answer(self, record: AlertRecord, word: str, org: str, fields: Mapping[str, str]) -> tuple[bool, str]:
        """Stores what the neighbour `org` said about a permission, as fields of a shown alert, and writes the event `word`. Returns whether
        it was done, and the alert's state, as `Alerts.note_from` does.
        """
        return await self._alerts.note_from(record, org, word, fields, states=SHOWN)

    async def widen(
        self, alert: AlertRecord, version: AlertRecord, area: bytes, audience: FrozenAudience, *, org: str, key: str
    ) -> tuple[bool, str]:
        """Extends an alert to the area that a neighbour permits, atomically and durably: writes the content of `alert` and the new `area`
        (packed) into the alert, and starts sending `version` to its `audience`. The alert must still have its revision, and `version` must
        be the next one of the alert. `org` and `key`: the neighbour and the API key that permitted it.

        Returns what `answer` returns, or 'again' as the reason if the alert has another last version.
        """
        box = await self._alerts.case_box(alert.case, alert.id)
        seals = Seals(alert.id, self._db.codec.master, box)
        await self._alerts.times.note_end(version)
        fields = seals.flat({
            "permissions": alert.neighbours.permissions, "permitted_by": alert.neighbours.answered_by,
            "permission_why": alert.neighbours.reasons, "regions": alert.target.regions, "changes": alert.times.changes,
        })  # fmt: skip
        fields += [GRANTED, alert.neighbours.areas[GRANTED]]
        last = nth_of(version.id) - 1
        done, old = await self._alerts.run_live(
            "widen", alert.id, listed(SHOWN), alert.rev, last, version.id, area,
            pack_audience(audience.numbers, audience.rings), len(audience.numbers), self._db.skew_ms, org, f"{org}:{key}",
            len(fields), *fields, *encode_content(version, Seals(version.id, self._db.codec.master, box)),
        )  # fmt: skip
        return bool(done), old.decode()
