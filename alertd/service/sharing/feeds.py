"""What everybody may read of alerts: those that are told now, Actual, and are to be published. A Test is never among them.

Nothing is kept of an alert that is over: it leaves with the step that ends it, and its CAP document is then a Cancel that names nobody.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from alertd.common.clock import Clock, ms_of
from alertd.common.errors import Problem
from alertd.model.alert import Alert, Status
from alertd.model.cap.messages import MsgType
from alertd.model.kinds import Kind, Level
from alertd.model.states import NO_LONGER_SHOWN, SHOWN, AlertState
from alertd.rendering import Renderer
from alertd.rendering.catalogue import REFERENCE
from alertd.service.messages.texts import Texts
from alertd.service.sharing.cap_out import CapOut, sender
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.open_alerts import OpenAlerts
from alertd.store.alerts.records import AlertRecord, unless_damaged

#: An alert, one of its changes, or its end, as CAP names them.
_IDENTIFIER = re.compile(r"(?P<alert>[0-9A-HJKMNP-TV-Z]{26})(?:\.(?:[0-9]{1,15}|[a-z_]{1,20}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An alert in the feed. Times are UNIX milliseconds."""

    id: str
    identifier: str  # of the CAP document as it stands
    kind: Kind
    level: Level
    language: str
    headline: str
    sender: str
    began: int
    updated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """What is published at one moment, newest first, and when that last changed."""

    entries: Sequence[Published]
    updated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """How an alert stands. Times are UNIX milliseconds."""

    id: str
    state: AlertState
    status: str
    rev: int
    start: int
    expires: int


class Feeds:
    """Answers what is published."""

    def __init__(
        self, current: OpenAlerts, alerts: Alerts, cap_out: CapOut, renderer: Renderer, texts: Texts, clock: Clock
    ) -> None:
        self._current = current
        self._alerts = alerts
        self._cap_out = cap_out
        self._renderer = renderer
        self._texts = texts
        self._clock = clock
        self._since = clock.now_ms()  # of a feed that nothing was ever in
        self._seen: dict[tuple[str, int, AlertState], Published | int | None] = {}

    async def feed(self) -> Feed:
        """Every organisation's. Only what changed since it was last asked is read again."""
        heads = [replace(one, state=self._state(one)) for one in await self._heads() if _public(one, one.start)]
        seen = {(one.id, one.rev, one.state): one.id for one in heads}
        known = self._seen  # another may be asked meanwhile, and let go of some
        self._seen = now = {
            name: known[name] if name in known else await unless_damaged(alert_id, self._look(alert_id))
            for name, alert_id in seen.items()
        }
        entries = [one for one in now.values() if isinstance(one, Published)]
        changes = [one if isinstance(one, int) else one.updated for one in now.values() if one is not None]
        return Feed(
            entries=sorted(entries, key=lambda one: (one.updated, one.id), reverse=True),
            updated=max(changes, default=self._since),
        )

    async def cap(self, identifier: str) -> tuple[str, bytes]:
        """The document of an alert as it stands, and its identifier, which is another than the one asked for where it was changed or is
        over since. Raises Problem for whatever is not published.
        """
        named = _IDENTIFIER.fullmatch(identifier)
        record = await self._alerts.get(named["alert"]) if named else None
        alert = _published(record) if record else None
        if record is None or alert is None:
            raise Problem("not-found", "No published alert has this identifier.")
        record = self._now(record)
        document = await self._cap_out.document(record, outline=alert.publish.area)
        return (await self._cap_out.head(record)).identifier, document

    async def _heads(self) -> list[_Head]:
        """How all alerts stand, without a look at what is sealed."""
        current = await self._current.alerts()
        facts = await self._alerts.fields(current, "state", "status", "rev", "start", "expires")
        return [_head(one, *found) for one, found in zip(current, facts, strict=True) if found[0]]

    def _state(self, record: AlertRecord | _Head) -> AlertState:
        """How an alert stands: past its end it is over, also where no worker has come to say so yet."""
        is_over = record.state in SHOWN and record.expires <= self._clock.now_ms()
        return AlertState.EXPIRED if is_over else record.state

    def _now(self, record: AlertRecord) -> AlertRecord:
        """The alert as it stands."""
        if (state := self._state(record)) is record.state:
            return record
        return replace(record, state=state, last_step=replace(record.last_step, since=record.expires))

    async def _look(self, alert_id: str) -> Published | int | None:
        """What the feed says of an alert; of one that is over, when it left; None for one that never was in it."""
        record = await self._alerts.get(alert_id)
        alert = _published(record) if record else None
        if record is None or alert is None:
            return None
        record = self._now(record)
        head = await self._cap_out.head(record)
        if head.msg_type is MsgType.CANCEL:
            return record.last_step.since
        language = next(iter(self._renderer.languages(alert)), REFERENCE)
        own = await self._texts.of(record.org, record.texts)
        return Published(
            id=record.id,
            identifier=head.identifier,
            kind=alert.kind,
            level=alert.level,
            language=language,
            headline=self._cap_out.headline(record, alert, language, own),
            sender=sender(record, alert) or "",
            began=record.times.start,
            updated=ms_of(head.sent),
        )


def _head(alert_id: str, *facts: bytes | None) -> _Head:
    state, status, *numbers = [(fact or b"").decode() for fact in facts]
    rev, start, expires = [int(number or 0) for number in numbers]
    return _Head(id=alert_id, state=AlertState(state), status=status, rev=rev, start=start, expires=expires)


def _public(head: AlertRecord | _Head, start: int) -> bool:
    return bool(start) and head.status == Status.ACTUAL and head.state in SHOWN | NO_LONGER_SHOWN


def _published(record: AlertRecord) -> Alert | None:
    """What an alert says, where it is published, or was while it was told."""
    if not record.document or not _public(record, record.times.start):
        return None
    alert = record.alert
    return alert if alert.publish.feed and alert.scope == "Public" else None
