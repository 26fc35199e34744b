"""Records each decision in the audit: one entry before the act, so that no act is unrecorded, and one with the outcome
after it.

A crash between the two leaves the first entry without the second. The object of the act then shows whether the act took
effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from alertd.metrics import Metrics
from alertd.service.access import BY_GLASS, BY_POLICY, Credential
from alertd.service.reach import people_shown
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine.codec import Box, Codec
from alertd.store.records.audit import AuditCheck, AuditLog

Fact = str | int | bool

BEGUN = "begun"
DONE = "done"
REFUSED = "refused"
FAILED = "failed"  # the act may still have taken effect


class _Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The content of an entry, as it is encrypted."""

    act: str
    outcome: str
    key: str
    by: str
    by_org: str = ""
    object: str = ""
    of: int = 0
    facts: dict[str, Fact] = {}
    case: dict[str, str] = {}


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Said).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry as the API shows it. If an entry can no longer be read, its `act` is empty."""

    number: int
    at: int  # UNIX ms, by the server's clock
    link: str
    act: str = ""
    outcome: str = ""
    key: str = ""
    by: str = ""  # the subject of the key's owner
    by_org: str = ""  # the organisation of the key's owner
    object: str = ""  # id of the object of the act
    of: int = 0  # number of the entry before the act, in an entry with its outcome
    facts: Mapping[str, Fact]
    case: Mapping[str, str]  # HMACs of values under the case's key; empty strings once the key is destroyed


@dataclass(slots=True)
class Noted:
    """The facts that a call collects for the entry with its outcome."""

    object: str = ""
    record: AlertRecord | None = None
    box: Box | None = None  # the key of its case, if the record lacks it
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Audit:
    """Writes, reads and verifies audit entries."""

    log: AuditLog
    alerts: Alerts
    codec: Codec
    metrics: Metrics

    def hidden(self, name: str) -> str:
        """Returns the hash under which entries name a subscriber's id, because the id may be a person's name."""
        return self.codec.hashed("audit", name)

    async def begin(self, who: Credential, act: str, object_: str) -> int:
        """Writes the entry before an act and returns its number. Raises StoreUnavailableError: then the caller must not
        do the act.
        """
        said = _Said(act=act, outcome=BEGUN, key=who.key_id, by=who.subject, by_org=who.own_org, object=object_)
        return await self._append(who.org, said)

    async def end(self, who: Credential, act: str, outcome: str, noted: Noted, *, of: int) -> None:
        """Writes the entry after an act, before the caller gets the answer. Raises StoreUnavailableError.

        The alert's document and the reasons of a decision are stored as HMACs under the case's key, and as nothing once
        the key is destroyed.
        """
        record = noted.record
        facts, case = dict(noted.facts), dict[str, str]()
        if record is not None:
            facts |= {"state": str(record.state), "rev": record.rev, "people": people_shown(record)}
            if record.approval.by.startswith(BY_POLICY):
                facts["approved_by_policy"] = True
            if record.approval.by.startswith(BY_GLASS):
                facts["break_glass"] = True
            values = {"case": record.case.encode(), "document": record.document}
            glass = record.approval.glass
            values |= {
                "reason": record.last_step.reason.encode(),
                "why": glass.why.encode() if glass else b"",
                "note": glass.review.note.encode() if glass and glass.review else b"",
            }
            values = {name: value for name, value in values.items() if value}
            case = await self.alerts.of_case(record.case, values, record.box or noted.box)
        said = _Said(
            act=act, outcome=outcome, key=who.key_id, by=who.subject, by_org=who.own_org,
            object=record.id if record else noted.object, of=of, facts=facts, case=case,
        )  # fmt: skip
        await self._append(who.org, said)

    async def page(self, org: str, *, before: int | None, limit: int) -> list[Entry]:
        """Returns up to `limit` entries of an organisation with numbers below `before`, newest first."""
        found = []
        for sealed, raw in await self.log.page(org, before=before, limit=limit):
            said = msgspec.structs.asdict(_decode(raw)) if raw else {"facts": {}, "case": {}}
            found.append(Entry(number=sealed.number, at=sealed.at, link=sealed.link, **said))
        return found

    async def verify(self, org: str, noted: tuple[int, str] | None) -> AuditCheck:
        """Returns a verdict on whether all entries of an organisation are unchanged. `noted` is the number and link of
        an entry that the caller noted earlier; it must be among them.
        """
        return await self.log.verify(org, noted=noted)

    async def _append(self, org: str, said: _Said) -> int:
        """Writes an entry to an organisation's audit and returns its number."""
        number = await self.log.append(org, _encode(said))
        self.metrics.audit_entries.inc()
        return number
