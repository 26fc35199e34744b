"""After a store was put back from a copy: nobody here knows what was sent, stood down or closed since the copy was made.

So nothing that it left open goes on by itself. What was to be sent is unknown from then on, so that a correction reaches whoever may
have been told and an operator can send it again; what is shown is hidden, for the child may have been found; what waits for its second
person, or for its time, goes back to its author, for it may have been approved, or called off. New alerts are taken and sent at once.
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

#: Of all organisations.
Names = Callable[[], Awaitable[Sequence[str]]]
ACT = "store.restore"
#: Who does it, in the audit and in the alerts: whoever ran the command had the machine, and no key.
BY = "alertd restore"


@dataclass(frozen=True, slots=True)
class Restoring:
    """Does this before anything is served or sent. Doing it again, where a start failed meanwhile, changes nothing more."""

    current: OpenAlerts
    alerts: Alerts
    tracks: Tracks
    tombstones: Tombstones
    audit: Audit
    names: Names
    clock: Clock
    org: str

    async def settle(self, made: str, put_back_ms: int) -> Counter[str]:
        """`made` is when the copy was made, in RFC 3339, and `put_back_ms` when it was put back. Answers how many alerts are hidden, how many
        went back, and how many rows are unknown. Raises OSError where it cannot be written down that it was put back.
        """
        reason = f"Put back from the copy of {made}: what was sent or decided since then is not known here."
        totals: Counter[str] = Counter()
        alerts, orgs = await self.current.alerts(), await self.names()
        by_org: dict[str, Counter[str]] = {self.org: Counter()}
        times = await asyncio.to_thread(self.tombstones.put_back)
        if put_back_ms not in times:  # else a start wrote it that failed then
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
        structlog.get_logger().warning("the store was put back from a copy", copy=made, **totals)
        return totals

    async def _held_back(self, versions: list[str], batches: list[int]) -> Counter[str]:
        """Needs nothing of them that is sealed: one that cannot be read is sent to nobody, either."""
        done: Counter[str] = Counter()
        for version, many in zip(versions, batches, strict=True):
            done["unknown"] += await self.current.put_back(version, many)
        return done

    async def _in_doubt(self, org: str, alert_id: str) -> None:
        """What a distributor was to be sent it may have, and is told the end of."""
        for distributor in await self.tracks.of_alert(org, alert_id):
            track, seen = await self.tracks.get(org, alert_id, distributor)
            await self.tracks.put(org, alert_id, distributor, put_back(track), seen=seen, now_ms=self.clock.now_ms())

    async def _settled(self, versions: list[str], waiting: list[str], reason: str) -> Counter[str]:
        """Raises SealError and ValueError where the alert, or the key of its case, cannot be read; of its later versions nothing sealed is."""
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
