"""Who decided what, and when: an entry before the act, so that none happens unseen, and one after it with what came of it.

A crash between the two leaves an entry without its second: whether the act came through is then told by what it was about.
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
from alertd.store.records.audit import AuditLog, Verdict

Fact = str | int | bool

BEGUN = "begun"
DONE = "done"
REFUSED = "refused"
FAILED = "failed"  # it may have come through all the same


class _Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an entry says, as it is sealed."""

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
    """An entry as it is shown. What cannot be read any more is an act without a name."""

    number: int
    at: int  # UNIX milliseconds, the server's
    link: str
    act: str = ""
    outcome: str = ""
    key: str = ""
    by: str = ""  # the subject of the person whose key it was
    by_org: str = ""  # and that person's organisation
    object: str = ""  # an id of what it was about
    of: int = 0  # the entry whose act this is the outcome of
    facts: Mapping[str, Fact]
    case: Mapping[str, str]  # values of the case as HMACs under its key: empty words once it is destroyed


@dataclass(slots=True)
class Noted:
    """What a call tells of itself while it runs, for the entry that follows it."""

    object: str = ""
    record: AlertRecord | None = None
    box: Box | None = None  # the key of its case, where the record does not have it
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Audit:
    """Writes entries and reads them."""

    log: AuditLog
    alerts: Alerts
    codec: Codec
    metrics: Metrics

    def hidden(self, name: str) -> str:
        """A subscriber's id, which may be a person's name, as it stands in entries."""
        return self.codec.hashed("audit", name)

    async def begin(self, who: Credential, act: str, object_: str) -> int:
        """Before the act. Answers the entry's number. Raises StoreUnavailableError: then the act must not be done."""
        said = _Said(act=act, outcome=BEGUN, key=who.key_id, by=who.subject, by_org=who.own_org, object=object_)
        return await self._append(who.org, said)

    async def end(self, who: Credential, act: str, outcome: str, noted: Noted, *, of: int) -> None:
        """After the act, before anybody is told that it is done. Raises StoreUnavailableError. What the alert says, and why somebody decided so, are HMACs
        under the case's key; nothing once it is destroyed.
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
        """The latest entries of an organisation before a number, newest first."""
        found = []
        for sealed, raw in await self.log.page(org, before=before, limit=limit):
            said = msgspec.structs.asdict(_decode(raw)) if raw else {"facts": {}, "case": {}}
            found.append(Entry(number=sealed.number, at=sealed.at, link=sealed.link, **said))
        return found

    async def verify(self, org: str, noted: tuple[int, str] | None) -> Verdict:
        """Whether every entry is as it was written."""
        return await self.log.verify(org, noted=noted)

    async def _append(self, org: str, said: _Said) -> int:
        number = await self.log.append(org, _encode(said))
        self.metrics.audit_entries.inc()
        return number
