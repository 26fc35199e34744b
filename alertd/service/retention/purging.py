"""Purges a case: destroys its key, here and in every restored copy, so that no data of the child can be read.

A purge has four steps. It removes the written content from all alerts of the case, drops the key, writes a tombstone
outside the store and destroys the key. After a crash in between, the same call continues the purge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.common.ids import chain_of
from alertd.model.kinds import PurgeReason
from alertd.model.states import ENDED, AlertState
from alertd.service.access import Credential
from alertd.service.alerts.approval import Approval
from alertd.service.alerts.later_audience import versions_of
from alertd.service.decision_checks import check_revision
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord
from alertd.store.photos.photos import Media
from alertd.store.records.case_keys import PHOTO, PURGING_MS, Cases
from alertd.store.records.tombstones import Purged, Tombstone, Tombstones

_S = AlertState
#: States in which the named alert may be purged: ended or stood down.
NAMED = ENDED | {_S.STOOD_DOWN}
#: States in which other alerts of the case are purged together with the named one. Drafts were never submitted and must
#: not keep the key.
WITH_IT = ENDED | {_S.DRAFT}


@dataclass(slots=True)
class Purging:
    """Purges cases. Idempotent: a repeated call continues or changes nothing."""

    alerts: Alerts
    cases: Cases
    media: Media
    tombstones: Tombstones
    approval: Approval
    clock: Clock

    async def purge(self, alert_id: str, who: Credential, code: PurgeReason, *, rev: int | None = None) -> AlertRecord:
        """Purges the case of an alert, with all its alerts and drafts. Returns the alert.

        Other organisations that use the same number have cases of their own. Raises Problem if one of the alerts has
        not ended, or if the case has a legal hold.
        """
        record = await self.approval.get(alert_id, who)
        await self.approval.check_case(record, who)
        await versions_of(self.alerts, alert_id)
        # Destroy the key that an earlier purge could not destroy: newer data is sealed under another key.
        await self._destroy(record.case)
        held = await self.cases.held(record.case)
        if record.state is not _S.PURGED or alert_id in held:
            check_revision(record, None if record.state is _S.PURGED else rev)
            await self._unless_kept(record, held, who, code)
            await self._destroy(record.case, [one for one in held if one.startswith(PHOTO)])
        return await self.approval.get(alert_id, who)

    async def restore(self) -> None:
        """Repeats, in a restored store, all purges that happened after its copy was made. Must run before the store is
        served. Raises OSError.
        """
        purged = await asyncio.to_thread(self.tombstones.purged)
        for one, state in zip(purged, await self.alerts.states(purged), strict=True):
            if state is not None and state is not _S.PURGED:
                await self.alerts.purge(one, (), "", "")
                structlog.get_logger().warning("alert.purged_again", alert=one)
        stones = await asyncio.to_thread(self.tombstones.read_all)
        for stone in await self.cases.undone(stones):
            await self.cases.destroy(stone.case)
        for stone in await self.cases.risen(stones):
            held = await self.cases.held(stone.case)
            for one in held:
                if not one.startswith(PHOTO):
                    await self.alerts.purge(one, (), "", "")
            await self.cases.bury(stone.case)
            await self.cases.destroy(stone.case, [one for one in held if one.startswith(PHOTO)])
            structlog.get_logger().warning("case.purged_again", alerts=len(held))

    async def _unless_kept(self, record: AlertRecord, held: dict[str, int], who: Credential, code: PurgeReason) -> None:
        """Purges the case, unless a legal hold keeps it: then raises Problem. No hold can be placed during the purge."""
        until_ms = await self.cases.begin_purge(record.case)
        if not until_ms:
            raise Problem(
                "precondition-failed",
                "A legal hold keeps this case. Only a person who did not place it can release it: one of the same organisation,"
                " or an administrator of the organisation that runs the service.",
            )
        try:
            await self._purge_all(record, held, who, code, until_ms)
        finally:
            await self.cases.end_purge(record.case)

    async def _purge_all(
        self, record: AlertRecord, held: dict[str, int], who: Credential, code: PurgeReason, until_ms: int
    ) -> None:
        """Purges the alert and the other alerts of its case, and drops the case's key. Raises Problem if one has not
        ended, or new data came to the case meanwhile.
        """
        alerts = await self._of_case(record, held)
        for one in (record.id, *alerts):
            sources = NAMED if one == record.id else WITH_IT
            done, old = await self.alerts.purge(one, sources, code, who.signature, until_ms=until_ms)
            if not done:
                raise _not_over(one, old)
        if await self.cases.drop(record.case, held):
            return
        await self._write_down(*(Purged(purged=one) for one in (record.id, *alerts)))
        raise Problem(
            "precondition-failed",
            "New data or a hold came to this case meanwhile. Its earlier data is purged. Purge the case again.",
        )

    async def _of_case(self, record: AlertRecord, held: dict[str, int]) -> list[str]:
        """Returns the ids of the other alerts of the case. Raises Problem if one has not ended or is being stored right
        now.
        """
        touched = {one: at for one, at in held.items() if not one.startswith(PHOTO)}
        for photo in held.keys() - touched.keys():
            touched = dict.fromkeys(await self.media.alerts(photo), held[photo]) | touched
        touched = {chain_of(one): max(at, touched.get(chain_of(one), 0)) for one, at in sorted(touched.items())}
        others = sorted(touched.keys() - {record.id})
        heads = dict(zip(others, await self.alerts.heads(others), strict=True))
        for one, head in heads.items():
            if head is None and touched[one] > self.clock.now_ms() - PURGING_MS:
                raise Problem(
                    "precondition-failed", "An alert of this case is being stored right now. Try again in a moment."
                )
            if head is not None and head.state not in WITH_IT:
                raise _not_over(one, head.state)
        return [head.id for head in heads.values() if head is not None]

    async def _destroy(self, case: str, photos: Sequence[str] = ()) -> None:
        """Writes the tombstone of a key that was dropped before, and destroys the key and these photos. Does nothing if
        there is no dropped key. Raises Problem.
        """
        stone = await self.cases.dropped(case)
        if stone is None:
            return
        await self._write_down(stone)
        await self.cases.destroy(case, photos)

    async def _write_down(self, *stones: Tombstone | Purged) -> None:
        """Writes tombstones outside the store, because a copy of the store may be older than the purge. Raises Problem."""
        try:
            for stone in stones:
                await asyncio.to_thread(self.tombstones.add, stone)
        except OSError:
            raise Problem(
                "store-unavailable",
                "alertd cannot record the purge. Fix store.tombstones, then purge the case again.",
            ) from None


def _not_over(alert_id: str, state: str) -> Problem:
    """Returns the Problem for an alert that prevents a purge. `state` is its state; 'late' means that the purge took
    too long, and 'telling' that a follow-up is still being sent.
    """
    if state == "late":
        return Problem(
            "precondition-failed", "The purge took too long, and the case may have a hold by now. Purge it again."
        )
    if state == "telling":
        return Problem("precondition-failed", "A follow-up is still being sent. Purge the case when that is done.")
    return Problem(
        "precondition-failed",
        f"Alert {alert_id} of this case is {state or 'gone'}: only an alert that has ended can be purged.",
    )
