"""Alerts: one hash for each version, with the document encrypted under its case's key. Area and frozen audience are separate keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import shapely

from alertd.common.ids import chain_of
from alertd.model.fields import folded_number
from alertd.model.states import AMENDABLE, QUEUED_BECOMES, AlertState
from alertd.store.alerts.external_ids import ExternalIds
from alertd.store.alerts.public_ids import claim
from alertd.store.alerts.record_fields import (
    NAMES,
    OF_CASE,
    OF_CHAIN,
    PLAN_HEAD,
    Flat,
    FrozenAudience,
    Numbers,
    Rings,
    Seals,
    changed,
    decode_plan_head,
    decode_record,
    encode_content,
    pack_audience,
    unpack_area,
    unpack_audience,
)
from alertd.store.alerts.records import AlertRecord, Footing, PlanHead, listed, sources_of, unless_damaged, version_key
from alertd.store.alerts.schedule import AlertSchedule
from alertd.store.engine import keys
from alertd.store.engine.codec import Box, SealError
from alertd.store.engine.connection import Arg, Connection
from alertd.store.records.case_keys import PHOTO, Cases, version_ids
from alertd.store.records.events import announcement

#: A place in an organisation's list of alerts: creation time (ms), id.
ListPlace = tuple[int, str]
#: Entries read in addition to the limit, so that alerts of the same millisecond rarely need a second read.
_TIES = 8


class Alerts:
    """The repository of alerts.

    `external_ids` finds the active alert with an external id. `times` stores when each alert starts and ends.
    """

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self.external_ids = ExternalIds(connection, self.heads)
        self.times = AlertSchedule(connection)

    def case_id(self, org: str, number: str) -> str:
        """Returns the id of an organisation's case: a keyed hash of its number, equal for all spellings of the number."""
        return self._db.codec.hashed("case", f"{org}\n{folded_number(number)}")

    async def case_box(self, case: str, holder: str) -> Box:
        """Returns the key of a case, and records that it seals the alert or photo `holder`. Makes the key at first use."""
        return await Cases(self._db).box(case, holder)

    async def in_case(self, *cases: str) -> list[AlertRecord]:
        """Returns all alerts of these cases, without their documents. A case belongs to one organisation."""
        return [one for one in await self.heads(await self.ids_in_case(*cases)) if one is not None]

    async def ids_in_case(self, *cases: str) -> list[str]:
        """Returns the ids of the first versions of all alerts of these cases."""
        found = await self._db.hashes([keys.case_held(case) for case in cases])
        held = [name.decode() for one in found for name in one]
        return sorted({chain_of(one) for one in held if not one.startswith(PHOTO)})

    async def of_case(self, case: str, values: Mapping[str, bytes], box: Box | None = None) -> dict[str, str]:
        """Returns HMACs of `values` by name, under the key of a case (`box`, or read), for comparison; {} if the key is destroyed."""
        box = box or await self._box(case)
        return {name: box.hashed(value) for name, value in values.items()} if box else {}

    async def create(self, record: AlertRecord, area: bytes) -> Box | None:
        """Stores a first version with its area (packed), durably. Returns the key of its case, None if the id exists."""
        chain = chain_of(record.id)
        listed_first = [
            ("ZADD", keys.org(record.org, "alerts"), "NX", record.times.created, record.id),  # a retry keeps its place
            ("ZADD", keys.expiry(keys.shard_of(chain)), record.expires, record.id),
            announcement(chain),
            *claim(record.chain.public_id, record.id),
        ]
        box = await Cases(self._db).box(record.case, record.id, listed_first)
        seals = self._seals(record.id, box)
        made = await self._db.run_durably(
            "create", [keys.chain(chain)], record.id, area, record.org, self._db.skew_ms,
            record.chain.public_id, "state", str(record.state), *encode_content(record, seals),
        )  # fmt: skip
        return box if made else None

    async def amend(self, record: AlertRecord, area: bytes) -> tuple[bool, str]:
        """Stores new content of a draft or a returned alert, durably, if its revision is still `record.rev`. Returns
        whether it did, and the state ('changed' if another process changed it).
        """
        seals = self._seals(record.id, await self.case_box(record.case, record.id))
        await self.times.bring_forward(record)
        done, old = await self._db.run_durably(
            "amend", [keys.chain(chain_of(record.id))], record.id, listed(AMENDABLE), record.rev, area,
            *encode_content(record, seals, anew=False),
        )  # fmt: skip
        return bool(done), old.decode()

    async def get(self, alert_id: str) -> AlertRecord | None:
        """Returns an alert with its document, or None. A purged alert has an empty document."""
        found, chain = await self._db.hashes([version_key(alert_id), keys.chain(chain_of(alert_id))])
        if not found:
            return None
        fields = {key.decode(): value for key, value in found.items()}
        seals = self._seals(alert_id, await self._box(fields["case"].decode()))
        return decode_record(fields, seals, [chain.get(name.encode()) for name in OF_CHAIN])

    async def heads(self, alert_ids: Sequence[str]) -> list[AlertRecord | None]:
        """Returns the records of versions without their documents, None for an unknown id, in two round trips."""
        names = ("pending_at", *NAMES)
        chains = [("HMGET", keys.chain(chain_of(alert_id)), *OF_CHAIN) for alert_id in alert_ids]
        versions = [("HMGET", version_key(alert_id), *names) for alert_id in alert_ids]
        rows = await self._db.execute_many([*versions, *chains])
        rows, chained = rows[: len(alert_ids)], rows[len(alert_ids) :]
        found = [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows]
        boxes = await self._boxes({fields["case"].decode() for fields in found if "case" in fields})
        return [
            decode_record(fields, self._seals(alert_id, boxes[fields["case"].decode()]), of_chain)
            if "state" in fields
            else None
            for alert_id, fields, of_chain in zip(alert_ids, found, chained, strict=True)
        ]

    async def listed(self, alert_ids: Sequence[str]) -> list[AlertRecord | None]:
        """Returns `heads` for a list. Logs a damaged record and returns None for it, so that it cannot hide the others."""
        try:
            return await self.heads(alert_ids)
        except SealError:
            found = [await unless_damaged(one, self.heads([one])) for one in alert_ids]
            return [one[0] if one else None for one in found]

    async def plan_heads(self, alert_ids: Sequence[str]) -> list[PlanHead | Exception | None]:
        """Returns for each alert its `PlanHead` (the planner's data), None if unknown, or the error of reading it. One round trip."""
        rows = await self._db.execute_each([("HMGET", version_key(alert_id), *PLAN_HEAD) for alert_id in alert_ids])
        return [
            row if isinstance(row, Exception) else decode_plan_head(alert_id, row)
            for alert_id, row in zip(alert_ids, rows, strict=True)
        ]

    async def state(self, alert_id: str) -> AlertState | None:
        return (await self.states([alert_id]))[0]

    async def rev(self, alert_id: str) -> int:
        """Returns the revision of an alert, 0 for an unknown id."""
        return int(await self._db.execute("HGET", version_key(alert_id), "rev") or 0)

    async def states(self, alert_ids: Sequence[str]) -> list[AlertState | None]:
        """Returns the state of each alert, None for an unknown id, in one round trip."""
        return [AlertState(raw.decode()) if raw else None for (raw,) in await self.fields(alert_ids, "state")]

    async def fields(self, alert_ids: Sequence[str], *names: str) -> list[list[bytes | None]]:
        """Returns for each alert the stored fields `names` (None if missing), in one round trip."""
        return await self._db.execute_many([("HMGET", version_key(alert_id), *names) for alert_id in alert_ids])

    async def area(self, alert_id: str) -> shapely.MultiPolygon:
        """Returns the area of a version; a follow-up without an area of its own has that of the first version. The caller may change it."""
        chain = chain_of(alert_id)
        own = await self._db.execute("GET", keys.of_chain(chain, "area", alert_id))
        return unpack_area(own or await self._db.execute("GET", keys.of_chain(chain, "area", chain)))

    async def audience(self, alert_id: str) -> FrozenAudience:
        """Returns the frozen audience of a version, empty before the approval."""
        raw = await self._db.execute("GET", keys.of_chain(chain_of(alert_id), "audience", alert_id))
        return unpack_audience(raw or pack_audience(np.empty(0, np.uint64)))

    async def approve(
        self,
        alert_id: str,
        audience: Numbers,
        approver: str,
        *,
        rings: Rings | None = None,
        rev: int | None = None,
        approved_rev: int = 0,
        sent_by: Iterable[str] = (),
        asked: Iterable[str] = (),
        **alone: str,
    ) -> tuple[bool, str]:
        """Freezes the audience with each person's ring and approves the version, durably, if its revision is still `rev` (None: any).
        `approved_rev`: the revision that the approver saw. `sent_by`: API keys behind the alert, for stops. `asked`: neighbours who get an
        event. `alone`: fields of an approval by the author, `why` among them. Returns whether it was done, and the earlier state ('expired'
        or 'changed' if that is the reason against it).
        """
        seals = self._seals(alert_id, await self._box_of(alert_id) if alone else None)
        fields = {"approver": approver, "approved_rev": str(approved_rev), **alone}
        done, old = await self.run_live(
            "approve",
            alert_id,
            sources_of(AlertState.APPROVED),
            pack_audience(audience, rings),
            len(audience),
            self._db.skew_ms,
            "" if rev is None else rev,
            " ".join(sent_by),
            int("why" in alone),
            " ".join(asked),
            *seals.flat(fields),
        )
        return bool(done), old.decode()

    async def run_live(self, script: str, alert_id: str, *args: Arg) -> Any:
        """Runs durably a script that may start sending, and returns its answer. Marks the alert as active before, so that a crash cannot
        hide it, and again afterwards: a worker may have found it unapproved in between and removed it from the active alerts.
        """
        await self.mark_live(alert_id, durably=True)
        answer = await self._db.run_durably(script, [keys.chain(chain_of(alert_id))], alert_id, *args)
        if answer[0]:
            await self.mark_live(alert_id)
        return answer

    async def step(
        self, alert_id: str, new: AlertState, *, rev: int | None = None, texts: int | None = None, **fields: str
    ) -> tuple[bool, str]:
        """Moves an alert to `new` and sets `fields`, durably, if its state and `rev` (None: any) permit that. Stores
        `texts`, the revision of the organisation's texts (None: keeps it). Returns whether it was done, and the earlier
        state: '' for an unknown id, 'changed' for another revision.
        """
        # First, so that queued rows are settled and the event is moved even if this process dies here.
        await self.mark_live(alert_id, works=new in QUEUED_BECOMES)
        seals = self._seals(alert_id, await self._box_of(alert_id) if fields.keys() & set(OF_CASE) else None)
        flat: Flat = [] if texts is None else ["texts", texts]
        flat += seals.flat(fields)
        done, old = await self._db.run_durably(
            "step", [keys.chain(chain_of(alert_id))], alert_id, sources_of(new), str(new), self._db.skew_ms,
            "" if rev is None else rev, *flat,
        )  # fmt: skip
        return bool(done), old.decode()

    async def follow(
        self,
        record: AlertRecord,
        footing: Footing,
        new: AlertState | None,
        notice: AlertRecord | None,
        *,
        fields: Mapping[str, str],
        sent_by: Iterable[str] = (),
        anew: Sequence[AlertRecord] = (),
    ) -> tuple[bool, str]:
        """Applies one step of an alert (`new`, None: keeps its state) and stores the version that announces it, atomically and durably.

        `anew`: versions whose document changes, the alert among them. Returns whether it was done, and the earlier state. If refused, the
        state can be 'changed', 'expired', or 'again' (another version or change came first).
        """
        box = await self._box(record.case)
        seals = self._seals(record.id, box)
        flat = seals.flat(fields)
        flat += [part for one in anew if one.id == record.id for part in changed(one)]
        docs: Flat = [part for one in anew for part in (one.id, self._seals(one.id, box).sealed(one.document))]
        content: Flat = []
        if notice is not None:
            await self.times.note_end(notice)
            content = encode_content(notice, self._seals(notice.id, box))
        done, old = await self.run_live(
            "follow", record.id, listed(footing.sources), str(new or ""), self._db.skew_ms,
            "" if footing.rev is None else footing.rev, footing.last, " ".join(sent_by), notice.id if notice else "",
            int(footing.alive), len(flat), len(docs), footing.word, record.times.changes, *flat, *docs, *content,
        )  # fmt: skip
        for one in anew:
            if done and one.id == record.id:
                await self.times.note_end(one)
        return bool(done), old.decode()

    async def versions(self, chains: Sequence[str]) -> list[str]:
        """Returns the ids of all versions of these alerts (`chains`: ids of first versions), in one round trip."""
        return await version_ids(self._db, chains)

    async def chain(self, chain: str) -> list[AlertRecord]:
        """Returns all versions of an alert (`chain`: id of the first), in order, without their documents."""
        return [one for one in await self.heads(await self.versions([chain])) if one is not None]

    async def pairs(self, alert_id: str) -> FrozenAudience | None:
        """Returns a follow-up's recipients by number and channel (ring 1: not reached by an earlier version), None if not stored yet."""
        raw = await self._db.execute("GET", keys.of_chain(chain_of(alert_id), "heard", alert_id))
        return unpack_audience(raw) if raw else None

    async def keep_pairs(self, alert_id: str, pairs: FrozenAudience, people: int) -> FrozenAudience:
        """Stores a follow-up's recipients (`pairs`) and their number (`people`), unless recipients are stored already. Returns the stored
        ones.
        """
        name = keys.of_chain(chain_of(alert_id), "heard", alert_id)
        kept, raw = await self._db.execute_many(
            [("SET", name, pack_audience(pairs.numbers, pairs.rings), "NX"), ("GET", name)]
        )
        await self._db.execute("HSET", version_key(alert_id), "people", people)
        return pairs if kept else unpack_audience(raw)

    async def purge(
        self, alert_id: str, sources: Iterable[AlertState], code: str, by: str, *, until_ms: int | None = None
    ) -> tuple[bool, str]:
        """Deletes the content of all versions of an alert, durably, before `until_ms` (store clock), if its state is in `sources` (empty: any).

        Returns whether it was done, and the earlier state ('telling' while a version is still being sent, 'late' after `until_ms`).
        """
        await self.mark_live(alert_id)  # first, so that the queued rows are settled
        sealed = self._seals(alert_id, None).seal("by", by) if by else b""
        done, old = await self._db.run_durably(
            "purge", [keys.chain(alert_id)], alert_id, listed(sources) if sources else "", self._db.skew_ms,
            "" if until_ms is None else until_ms, "code", code, "by", sealed,
        )  # fmt: skip
        return bool(done), old.decode()

    async def pause(self, alert_id: str, *, waits: bool, by: str, rev: int | None) -> tuple[bool, str]:
        """Pauses (`waits`) or resumes all versions of an alert, durably. Returns whether it is so now, and the state ('changed' if `rev` is
        old).
        """
        sealed, chain = self._seals(alert_id, None).seal("by", by), chain_of(alert_id)
        await self.mark_live(alert_id, works=False)
        done, old = await self._db.run_durably(
            "alert_pause", [keys.chain(chain)], alert_id, chain, int(waits), "" if rev is None else rev, self._db.skew_ms,
            "by", sealed,
        )  # fmt: skip
        return bool(done), old.decode()

    async def note_from(
        self, record: AlertRecord, org: str, word: str, fields: Mapping[str, str], *, states: Iterable[AlertState] = ()
    ) -> tuple[bool, str]:
        """Sets fields of an alert for the organisation `org` and writes the event `word`, atomically and durably, if its revision is still
        `record.rev`. With `states`, it must be in one of them and not expired. Returns whether it was done, and the alert's state
        ('changed' or 'expired' if that is the reason for a refusal).
        """
        seals = self._seals(record.id, record.box)
        await self.mark_live(record.id, works=False)
        done, old = await self._db.run_durably(
            "permit", [keys.chain(record.id)], record.id, listed(states) if states else "", record.rev, self._db.skew_ms,
            word, org, *seals.flat(fields),
        )  # fmt: skip
        return bool(done), old.decode()

    async def of_org(self, org: str, *, before: ListPlace | None, limit: int) -> list[ListPlace]:
        """Returns up to `limit` (creation UNIX ms, id) of an organisation's versions older than `before`, newest first"""
        top = "+inf" if before is None else before[0]
        found: list[ListPlace] = []
        offset, step = 0, limit + _TIES
        while len(found) < limit:
            flat = await self._db.execute(
                "ZREVRANGEBYSCORE", keys.org(org, "alerts"), top, "-inf", "WITHSCORES", "LIMIT", offset, step
            )
            nested = flat and isinstance(flat[0], (list, tuple))
            pairs = flat if nested else zip(flat[::2], flat[1::2], strict=True)
            page = [(int(float(score)), name.decode()) for name, score in pairs]
            found += [place for place in page if before is None or place < before]
            if len(page) < step:
                break
            offset += step
        return found[:limit]

    async def sum_up(self, alert_id: str) -> bool:
        """Marks a version as reported in logs and metrics. Returns whether this call was the first to mark it."""
        return bool(await self._db.execute("HSETNX", version_key(alert_id), "summed_up", 1))

    async def live(self) -> dict[str, bytes]:
        """Returns the active alerts by id of the first version, each with a count that `mark_live` raises."""
        found = await self._db.hashes([keys.live(shard) for shard in range(keys.SHARDS)])
        return {chain.decode(): seen for shard in found for chain, seen in shard.items()}

    async def mark_live(self, alert_id: str, *, works: bool = True, durably: bool = False) -> None:
        """Announces that an alert is about to get an event, and with `works` marks it as active, so that workers look at it for work."""
        chain = chain_of(alert_id)
        works_too = [("HINCRBY", keys.live(keys.shard_of(chain)), chain, 1)] if works else []
        await self._db.execute_many([announcement(chain), *works_too], durable=durably)

    async def retire(self, chain: str, seen: bytes) -> bool:
        """Removes an alert from the active ones, unless `mark_live` marked it again since `live` returned `seen`. Returns whether."""
        # The events of an active alert are read anyway. This announces the last ones.
        await self.mark_live(chain, works=False)
        return bool(await self._db.run("retire", [keys.live(keys.shard_of(chain))], chain, seen))

    def _seals(self, alert_id: str, case: Box | None) -> Seals:
        return Seals(alert_id, self._db.codec.master, case)

    async def _box_of(self, alert_id: str) -> Box | None:
        """Returns the key of an alert's case. None if the alert is unknown or the key is destroyed."""
        case = await self._db.execute("HGET", version_key(alert_id), "case")
        return await self._box(case.decode()) if case else None

    async def _box(self, case: str) -> Box | None:
        return (await self._boxes([case]))[case]

    async def _boxes(self, cases: Iterable[str]) -> dict[str, Box | None]:
        """Returns the keys of cases by case, None for a destroyed one, in one round trip."""
        names = {case: keys.case(case) for case in cases}
        found = await self._db.execute_many([("GET", name) for name in names.values()]) if names else []
        return {
            case: self._db.codec.case_box(wrapped, name) if wrapped else None
            for (case, name), wrapped in zip(names.items(), found, strict=True)
        }
