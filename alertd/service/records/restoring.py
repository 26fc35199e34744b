"""Stops or returns the open alerts of a store that was restored from a copy.

The copy lacks everything that was sent, stood down or closed after it was made. So no open alert continues by itself:

* Unsent messages become unknown. A correction then reaches their possible recipients, and an operator can send them
  again.
* Shown alerts are stood down, because the child may have been found.
* Alerts that wait for approval or for their start return to their author, because they may have been approved or
  cancelled.

New alerts are accepted and sent at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from alertd.common.clock import Clock
from alertd.model.distribution import put_back
from alertd.model.states import SHOWN, WAITING, AlertState
from alertd.service.access import Credential
from alertd.service.records.audit import DONE, Audit, Noted
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.open_alerts import OpenAlerts
from alertd.store.alerts.records import Footing, unless_damaged
from alertd.store.records.tombstones import PutBack, Tombstones
from alertd.store.sharing.webhooks import Tracks

#: Returns the names of all organisations.
Names = Callable[[], Awaitable[Sequence[str]]]
ACT = "store.restore"
#: The actor in the audit and in the alerts: the person who ran the command had access to the machine, but no key.
BY = "alertd restore"


@dataclass(frozen=True, slots=True)
class Restoring:
    """Makes a restored store safe before anything is served or sent. Idempotent, so a start that failed can repeat it."""

    current: OpenAlerts
    alerts: Alerts
    tracks: Tracks
    tombstones: Tombstones
    audit: Audit
    names: Names
    clock: Clock
    org: str

    async def settle(self, made: str, put_back_ms: int) -> Counter[str]:
        """Stands down or returns all open alerts, and marks their unsent rows as unknown.

        `made` is the time of the copy (RFC 3339); `put_back_ms` is the time of the restore (UNIX ms). Returns the
        number of alerts stood down (`stood_down`), of versions returned to their author (`returned`) and of rows now
        unknown (`unknown`). Raises OSError if the restore cannot be recorded in the tombstones.
        """
        reason = f"Restored from the copy of {made}. Later messages and decisions are unknown here."
        totals: Counter[str] = Counter()
        alerts, orgs = await self.current.alerts(), await self.names()
        by_org: dict[str, Counter[str]] = {self.org: Counter()}
        times = await asyncio.to_thread(self.tombstones.put_back)
        if put_back_ms not in times:  # an earlier start may have recorded it and then failed
            await asyncio.to_thread(self.tombstones.add, PutBack(put_back=put_back_ms))
            times.append(put_back_ms)
        await self.current.renumber(alerts, orgs, put_back_ms, times)
        for alert_id in alerts:
            versions = await self.alerts.versions([alert_id])
            facts = await self.alerts.fields(versions, "state", "batches", "org")
            done = await self._held_back(versions, [int(batches or 0) for _, batches, _ in facts])
            org = (facts[0][2] or b"").decode() or self.org
            await self._in_doubt(org, alert_id)
            waiting = [
                one for one, (state, *_) in zip(versions, facts, strict=True) if (state or b"").decode() in WAITING
            ]
            done += await unless_damaged(alert_id, self._settled(versions, waiting, reason)) or Counter()
            totals += done
            by_org.setdefault(org, Counter()).update(done)
        for org, counts in by_org.items():
            who = Credential(key_id="", org=org, subject=BY, scopes=frozenset())
            entry = await self.audit.begin(who, ACT, "")
            await self.audit.end(who, ACT, DONE, Noted(facts={"copy": made, **counts}), of=entry)
        structlog.get_logger().warning("store.restored", copy=made, **totals)
        return totals

    async def _held_back(self, versions: list[str], batches: list[int]) -> Counter[str]:
        """Marks the unsent rows of the versions as unknown, and returns their number. Reads no encrypted data, so it
        also stops versions that cannot be read.
        """
        done: Counter[str] = Counter()
        for version, many in zip(versions, batches, strict=True):
            done["unknown"] += await self.current.put_back(version, many)
        return done

    async def _in_doubt(self, org: str, alert_id: str) -> None:
        """Marks messages that were queued for a distributor as possibly received, so that the distributor also receives
        the end of the alert.
        """
        for distributor in await self.tracks.of_alert(org, alert_id):
            track, seen = await self.tracks.get(org, alert_id, distributor)
            await self.tracks.put(org, alert_id, distributor, put_back(track), seen=seen, now_ms=self.clock.now_ms())

    async def _settled(self, versions: list[str], waiting: list[str], reason: str) -> Counter[str]:
        """Gives waiting versions back to their author, then stands the alert down if it is shown. Returns a count of
        each.

        Of the encrypted records, reads only that of the first version. Raises SealError or ValueError if that record or
        the key of its case cannot be read; waiting versions may already be given back then.
        """
        done: Counter[str] = Counter()
        for version in waiting:
            await self.alerts.step(version, AlertState.RETURNED, by=BY, reason=reason, approver="", approver_key="")
            done["returned"] += 1
        (first,) = await self.alerts.heads(versions[:1])
        if first is not None and first.state in SHOWN:
            footing = Footing(sources=SHOWN, last=len(versions), rev=None)
            said = {"by": BY, "reason": reason}
            await self.alerts.follow(first, footing, AlertState.STOOD_DOWN, None, fields=said)
            done["stood_down"] += 1
        return done
