"""Who decided what, and when: an entry before the act, so that none happens unseen, and one after it with what came of it.

A crash between the two leaves an entry without its second: whether the act came through is then told by what it was about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from alertd.metrics import Metrics
from alertd.service.access import BY_GLASS, BY_POLICY, Credential
from alertd.service.small_counts import people_shown
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


class Audit:
    """Writes entries and reads them."""

    def __init__(self, log: AuditLog, alerts: Alerts, codec: Codec, metrics: Metrics) -> None:
        self._log = log
        self._alerts = alerts
        self._codec = codec
        self._metrics = metrics

    def hidden(self, name: str) -> str:
        """A subscriber's id, which may be a person's name, as it stands in entries."""
        return self._codec.hashed("audit", name)

    async def begin(self, who: Credential, act: str, object_: str) -> int:
        """Before the act. Answers the entry's number. Raises StoreUnavailableError: then the act must not be done."""
        return await self._append(who, act, BEGUN, object_, 0, {}, {})

    async def end(self, who: Credential, act: str, outcome: str, noted: Noted, *, of: int) -> None:
        """After the act, before anybody is told that it is done. Raises StoreUnavailableError."""
        record = noted.record
        facts = dict(noted.facts)
        if record is not None:
            facts |= {
                "state": str(record.state),
                "rev": record.rev,
                "people": people_shown(record),
            }
            if record.approver.startswith(BY_POLICY):
                facts["approved_by_policy"] = True
            if record.approver.startswith(BY_GLASS):
                facts["break_glass"] = True
        case = await self._case(record, record.box or noted.box) if record is not None else {}
        await self._append(who, act, outcome, record.id if record else noted.object, of, facts, case)

    async def page(self, org: str, *, before: int | None, limit: int) -> list[Entry]:
        """The latest entries of an organisation before a number, newest first."""
        found = []
        for sealed, raw in await self._log.page(org, before=before, limit=limit):
            said = msgspec.structs.asdict(_decode(raw)) if raw else {"facts": {}, "case": {}}
            found.append(Entry(number=sealed.number, at=sealed.at, link=sealed.link, **said))
        return found

    async def verify(self, org: str, noted: tuple[int, str] | None) -> Verdict:
        """Whether every entry is as it was written."""
        return await self._log.verify(org, noted=noted)

    async def _case(self, record: AlertRecord, box: Box | None) -> dict[str, str]:
        """What the alert says, and why somebody decided so, as HMACs under the case's key; nothing once it is destroyed."""
        values = {"case": record.case.encode(), "document": record.document}
        values |= {name: getattr(record, name).encode() for name in ("reason", "why", "note")}
        return await self._alerts.of_case(record.case, {name: value for name, value in values.items() if value}, box)

    async def _append(
        self,
        who: Credential,
        act: str,
        outcome: str,
        object_: str,
        of: int,
        facts: dict[str, Fact],
        case: dict[str, str],
    ) -> int:
        said = _Said(
            act=act,
            outcome=outcome,
            key=who.key_id,
            by=who.subject,
            by_org=who.own_org,
            object=object_,
            of=of,
            facts=facts,
            case=case,
        )
        number = await self._log.append(who.org, _encode(said))
        self._metrics.audit_entries.inc()
        return number
